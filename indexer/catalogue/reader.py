"""Read a catalogue: a folder a category, or a CSV, JSON-lines or Parquet file.

1. Every entry becomes an item or a `Problem`; a problem never moves another item.
2. Entries of the same item id, and images named twice in an item, are problems too.

What the files hold is looked at later, when they are embedded.
"""

import json
import os
import posixpath
import re
import sys
import unicodedata
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from indexer.catalogue.entries import is_unicode, read_entries, shown
from indexer.catalogue.metadata_spool import MetadataSpool, spooled
from indexer.catalogue.model import Catalogue, Entry, EntryError, Problem
from indexer.console.progress import SILENT_STAGE, Stage
from indexer.files.location import absolute, exists, is_url, location
from shared.catalogue.items import Item
from shared.errors import CatalogueError

_KNOWN_FIELDS = ("item_id", "category", "image", "images")
_MAX_NAME_CHARS = 500
_NO_FIELDS: dict[str, Any] = {}


def read_catalogue(
    path: Path, image_root: Path | None = None, stage: Stage = SILENT_STAGE, spool_directory: Path | None = None
) -> Catalogue:
    """Read a catalogue.

    Args:
        path: a directory, or a file that ends in `.csv`, `.tsv`, `.jsonl`, `.ndjson`, `.json` (an object a line) or
            `.parquet`, which may be a directory of such files; or a URL of such a file, from `location`.
        image_root: what a file's image paths are relative to and must lie in, a URL too; by default the file's
            directory.
        stage: is told of each entry.
        spool_directory: on whose disk the metadata are kept; by default where the system has its temporary files.

    Raises:
        CatalogueError: it can't be read at all, or has no entries.
        StorageError: that disk is full, or can't be written.
    """
    _require_there(path)
    is_table = path.suffix.lower() == ".parquet" or not path.is_dir()
    root = image_root or path.parent if is_table else path
    if not is_unicode(f"{absolute(path)}{absolute(root)}"):
        raise CatalogueError(f"the path of the catalogue {shown(path)} is not valid UTF-8: rename it")
    spool = MetadataSpool(spool_directory)
    return _check_entries(path, location(absolute(root)), read_entries(path), stage, spool)


def _require_there(path: Path) -> None:
    try:
        is_there = exists(path)
    except OSError as error:
        raise CatalogueError(f"the catalogue {path} can't be read: {error.strerror}") from error
    if not is_there:
        raise CatalogueError(
            f"the catalogue {path} does not exist: wanted a folder a category, or a .csv, .tsv, .jsonl or .parquet file"
        )
    if is_url(path) and path.suffix.lower() != ".parquet":
        raise CatalogueError(f"the catalogue {path} is at a URL, where only .parquet files are read")


def _check_entries(path: Path, root: Path, entries: Iterable[Entry], stage: Stage, spool: MetadataSpool) -> Catalogue:
    items: list[Item] = []
    sources: list[Entry] = []
    problems: list[Problem] = []
    seen: dict[str, Entry] = {}
    for entry in entries:
        stage.advance()
        item_id = _text_or_none(entry.fields.get("item_id"))
        item_id = None if item_id is None else shown(item_id)
        try:
            item = _to_item(entry, root, problems)
            if item.item_id in seen:
                raise EntryError(f"the item id {item.item_id!r} was already used {_where(seen[item.item_id])}")
        except EntryError as error:
            problems.append(Problem(entry.file, entry.row, item_id, str(error)))
            continue
        source = replace(entry, fields=_NO_FIELDS)  # the item and the spool have them
        seen[item.item_id] = source
        items.append(spooled(item, spool))
        sources.append(source)
    if not items and not problems:
        hint = "expected a folder a category with images in it" if path.is_dir() else "expected an item a line"
        raise CatalogueError(f"the catalogue {path} is empty: {hint}")
    return Catalogue(path, root, tuple(items), tuple(sources), tuple(problems))


def _where(entry: Entry) -> str:
    return f"in {entry.file}" if entry.row is None else f"in row {entry.row}"


def _to_item(entry: Entry, root: Path, problems: list[Problem]) -> Item:
    fields = entry.fields
    if entry.error is not None:
        raise EntryError(entry.error)
    item_id = _name(fields, "item_id")
    category = _category(fields)
    images: list[str] = []
    failures: list[str] = []
    for reference in _image_references(fields, root):
        try:
            image = _inside_root(reference, root)
            if image in images:
                raise EntryError(f"the image {reference!r} is named twice in this item")
            images.append(image)
        except EntryError as error:
            failures.append(str(error))
    if not images:
        raise EntryError("; ".join(failures) or "names no image: wanted `image` or `images`")
    problems += [Problem(entry.file, entry.row, item_id, failure) for failure in failures]
    metadata = {key: value for key, value in fields.items() if key not in _KNOWN_FIELDS and value is not None}
    return Item(item_id, category, tuple(images), metadata)


def described_row(entry: Entry, row: int) -> Item:
    """What one row of given embeddings shows; an image may be named, and need not be there.

    Raises:
        EntryError: the entry is none.
    """
    fields = entry.fields
    if entry.error is not None:
        raise EntryError(entry.error)
    image = _text_or_none(fields.get("image")) or f"row {row}"
    metadata = {key: value for key, value in fields.items() if key not in _KNOWN_FIELDS and value is not None}
    return Item(_name(fields, "item_id"), _category(fields), (image,), metadata)


def _category(fields: dict[str, Any]) -> str:
    """One object in memory for all items that have it."""
    return sys.intern(unicodedata.normalize("NFC", _name(fields, "category")))


def _name(fields: dict[str, Any], field: str) -> str:
    text = _text_or_none(fields.get(field))
    if text is None:
        raise EntryError(f"`{field}` is missing or empty")
    if len(text) > _MAX_NAME_CHARS:
        raise EntryError(f"`{field}` has {len(text)} characters; at most {_MAX_NAME_CHARS} are allowed")
    if not text.isprintable():
        raise EntryError(f"`{field}` has characters that can't be shown: {text!r}")
    return text


def _text_or_none(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    return str(value).strip() or None


def _image_references(fields: dict[str, Any], root: Path) -> list[str]:
    given = [fields[name] for name in ("image", "images") if fields.get(name) not in (None, "", [])]
    if len(given) > 1:
        raise EntryError("has both `image` and `images`: wanted one of them")
    if not given:
        return []
    references = _split(given[0], root) if isinstance(given[0], str) else given[0]
    if not isinstance(references, list) or not all(isinstance(one, str) and one.strip() for one in references):
        raise EntryError(f"`image` or `images` is neither a path nor a list of paths: {given[0]!r}")
    return [one.strip() for one in references]


def _split(text: str, root: Path) -> list[Any]:
    """Several images in one CSV cell: a JSON list, or separated by `|` or `;`, unless a file is called just that."""
    if text.lstrip().startswith("["):
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if isinstance(found, list):
            return found
    if not re.search(r"[|;]", text) or (not is_url(root) and os.path.lexists(root / text.strip())):
        return [text]
    return [part for part in re.split(r"[|;]", text) if part.strip()]


def _inside_root(reference: str, root: Path) -> str:
    """The path relative to the root; nothing outside may be read, since the service hands images out."""
    if "\0" in reference or not is_unicode(reference):
        raise EntryError(f"the image name {reference!r} is not valid UTF-8: rename the file")
    if is_url(root):
        return _below_url(reference, str(root))
    if "://" in reference:
        raise EntryError(
            f"the image {reference!r} is an address: download it and give its path, or name the place that all of them"
            " lie below with --image-root URL"
        )
    joined = Path(os.path.normpath(root / reference))
    if not os.path.isfile(joined):  # unlike Path.is_file, False for a name that is too long
        raise EntryError(f"the image {reference!r} does not exist in {root}")
    if not joined.resolve().is_relative_to(root) or not joined.is_relative_to(root):
        raise EntryError(f"the image {reference!r} lies outside {root}: name a higher directory with --image-root")
    return joined.relative_to(root).as_posix()


def _below_url(reference: str, root: str) -> str:
    """The same where images lie at URLs; whether there is one shows when it is fetched."""
    root = f"{root.rstrip('/')}/"
    below = reference.removeprefix(root)
    image = posixpath.normpath(below)
    if "://" in below or below.startswith("/") or image == ".." or image.startswith("../"):
        raise EntryError(f"the image {reference!r} lies outside {root}: name a higher place with --image-root")
    return image
