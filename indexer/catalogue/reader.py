"""Read a catalogue: one folder per category, or a CSV, JSON-lines or Parquet file.

1. Every entry becomes an item or a `Problem`.
2. A second entry with the same item id, and an image named twice in an item, are problems too.

The image files themselves are read later, when they are embedded.
"""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from indexer.catalogue.entries import read_entries
from indexer.catalogue.item_fields import item_of, text_or_none
from indexer.catalogue.metadata_spool import MetadataSpool, spooled
from indexer.catalogue.model import Catalogue, Entry, EntryError, Problem
from indexer.catalogue.names import is_valid_utf8, printable
from indexer.console.progress import SILENT_STAGE, Stage
from indexer.files.location import absolute, exists, is_url, location
from shared.catalogue.items import Item
from shared.errors import CatalogueError

_NO_FIELDS: dict[str, Any] = {}


def read_catalogue(
    path: Path, image_root: Path | None = None, stage: Stage = SILENT_STAGE, spool_directory: Path | None = None
) -> Catalogue:
    """Read a catalogue.

    Args:
        path: as `read_entries` takes it; or the URL of a `.parquet` file, from `location`.
        image_root: the directory or URL that a file's image paths are relative to and must lie in; by default the
            file's directory.
        stage: advanced by each entry.
        spool_directory: a directory on the disk that keeps the metadata; by default the system's for temporary files.

    Raises:
        CatalogueError: it can't be read at all, or has no entries.
        StorageError: that disk is full or not writable.
    """
    _require_catalogue(path)
    is_table = path.suffix.lower() == ".parquet" or not path.is_dir()
    root = image_root or path.parent if is_table else path
    if not is_valid_utf8(f"{absolute(path)}{absolute(root)}"):
        raise CatalogueError(f"the path of the catalogue {printable(path)} is not valid UTF-8: rename it")
    spool = MetadataSpool(spool_directory)
    return _read_items(path, location(absolute(root)), read_entries(path), stage, spool)


def _require_catalogue(path: Path) -> None:
    try:
        is_there = exists(path)
    except OSError as error:
        raise CatalogueError(f"the catalogue {path} can't be read: {error.strerror}") from error
    if not is_there:
        raise CatalogueError(
            f"the catalogue {path} does not exist; expected one folder per category, or a .csv, .tsv, .jsonl or"
            " .parquet file"
        )
    if is_url(path) and path.suffix.lower() != ".parquet":
        raise CatalogueError(f"the catalogue {path} is at a URL, where only .parquet files are read")


def _read_items(path: Path, root: Path, entries: Iterable[Entry], stage: Stage, spool: MetadataSpool) -> Catalogue:
    items: list[Item] = []
    problems: list[Problem] = []
    sources: dict[str, Entry] = {}
    for entry in entries:
        stage.advance()
        try:
            item, failures = item_of(entry, root)
            problems += [Problem(entry.file, entry.row, item.item_id, failure) for failure in failures]
            if item.item_id in sources:
                raise EntryError(f"the item id {item.item_id!r} was already used {_where(sources[item.item_id])}")
        except EntryError as error:
            item_id = text_or_none(entry.fields.get("item_id"))
            problems.append(Problem(entry.file, entry.row, item_id and printable(item_id), str(error)))
            continue
        sources[item.item_id] = replace(entry, fields=_NO_FIELDS)  # the item and the spool have them
        items.append(spooled(item, spool))
    if not items and not problems:
        expected = "one folder per category, with images in it" if path.is_dir() else "one item per line"
        raise CatalogueError(f"the catalogue {path} is empty; expected {expected}")
    return Catalogue(path, root, tuple(items), tuple(sources.values()), tuple(problems))


def _where(entry: Entry) -> str:
    return f"in {entry.file}" if entry.row is None else f"in row {entry.row}"
