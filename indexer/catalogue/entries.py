"""The entries of a catalogue, as its folders or its CSV, JSON-lines or Parquet file have them, unchecked."""

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from indexer.catalogue.model import Entry, check_header
from shared.errors import CatalogueError
from shared.images.formats import SUFFIXES

# Pictures that a shop may well have, but that we can't read: said, rather than passed over like a text file.
_FOREIGN_SUFFIXES = frozenset({".heic", ".heif", ".jp2", ".jxl", ".psd", ".svg", ".raw", ".cr2", ".nef", ".dng"})


def read_entries(path: Path) -> Iterator[Entry]:
    """Every entry of a catalogue, in its order (folders: sorted).

    Args:
        path: a directory, or a file that ends in `.csv`, `.tsv`, `.jsonl`, `.ndjson`, `.json` (an object a line) or
            `.parquet`, which may be a directory of such files.

    Raises:
        CatalogueError: it can't be read as what its name says.
    """
    if path.suffix.lower() == ".parquet":
        from indexer.catalogue.parquet import parquet_entries

        return parquet_entries(path)
    if path.is_dir():
        return _folder_entries(path)
    if path.suffix.lower() in (".csv", ".tsv"):
        return _csv_entries(path)
    if path.suffix.lower() in (".jsonl", ".ndjson", ".json"):
        return _json_lines_entries(path)
    raise CatalogueError(
        f"the catalogue {path} is neither a directory nor a .csv, .tsv, .jsonl, .ndjson or .parquet file"
    )


def is_unicode(text: str) -> bool:
    """Whether a name can be written down: a file system may hold bytes that can't."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(name: Path | str) -> str:
    """A name for messages, whatever bytes it has."""
    return str(name).encode("utf-8", "backslashreplace").decode()


def _folder_entries(path: Path) -> Iterator[Entry]:
    """An entry for each picture below a category's folder; other files and hidden ones are passed over."""
    for directory, folders, files in os.walk(path, onerror=_refuse_folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for folder in (Path(directory, name) for name in folders):
            if folder.is_symlink():
                yield Entry(shown(folder), None, {}, "is a link to a folder, which is not followed: copy the folder")
        for name in sorted(files):
            suffix = Path(name).suffix.lower()
            if name.startswith(".") or suffix not in SUFFIXES | _FOREIGN_SUFFIXES:
                continue
            file = Path(directory, name)
            relative = file.relative_to(path).as_posix()
            category = PurePosixPath(relative).parts[0]
            fields = {"item_id": relative, "category": category, "images": [relative]}
            yield Entry(shown(file), None, fields, _folder_error(relative, suffix))


def _refuse_folder(error: OSError) -> None:
    raise CatalogueError(f"the folder {error.filename} can't be read: {error.strerror}") from error


def _folder_error(relative: str, suffix: str) -> str | None:
    if suffix in _FOREIGN_SUFFIXES:
        return f"{suffix} images can't be read: convert it to JPEG, PNG or WebP"
    if not is_unicode(relative):
        return "the file's name is not valid UTF-8: rename it"
    if "/" not in relative:
        return "lies beside the category folders: move it into one"
    return None


def _csv_entries(path: Path) -> Iterator[Entry]:
    with _open_text(path) as file:
        try:
            header = file.readline()
            delimiter = max(",;\t", key=header.count)
            file.seek(0)
            rows = csv.DictReader(file, delimiter=delimiter, strict=True)
            check_header(path, rows.fieldnames or [])
            # Rows may span lines, so the number of a row is the line on which it ends.
            for row in rows:
                extra = row.pop(None, None)
                error = None if extra is None else f"has {len(extra)} more columns than the header"
                yield Entry(path.name, rows.line_num, {k: v for k, v in row.items() if v not in (None, "")}, error)
        except UnicodeDecodeError as error:
            raise CatalogueError(f"the catalogue {path} is not in UTF-8: {error}") from error
        except csv.Error as error:
            raise CatalogueError(f"the catalogue {path} is no CSV file: row {rows.reader.line_num}: {error}") from error


def _json_lines_entries(path: Path) -> Iterator[Entry]:
    with _open_text(path) as file:
        try:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield _json_entry(path.name, number, line)
        except UnicodeDecodeError as error:
            raise CatalogueError(f"the catalogue {path} is not in UTF-8: {error}") from error


def _json_entry(file: str, number: int, line: str) -> Entry:
    try:
        fields = json.loads(line, parse_constant=_refuse_constant)
        # Python reads halves of characters and numbers beyond a double, but nobody can be sent them.
        json.dumps(fields, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        return Entry(file, number, {}, f"is no JSON: {error}")
    if not isinstance(fields, dict):
        return Entry(file, number, {}, f"is no JSON object but {type(fields).__name__}")
    return Entry(file, number, fields)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not in JSON")


def _open_text(path: Path) -> Any:
    try:
        return path.open(encoding="utf-8-sig", newline="")
    except OSError as error:
        raise CatalogueError(f"the catalogue {path} can't be read: {error.strerror}") from error
