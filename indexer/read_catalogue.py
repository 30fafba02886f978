"""Read a catalogue: a folder a category, or a CSV or JSON-lines file.

1. Every entry becomes an item or a `Problem`; a problem never moves another item.
2. Entries of the same item id, and images named twice in an item, are problems too.

What the files hold is looked at later, when they are embedded.
"""

import csv
import json
import os
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from shared.catalogue import Item
from shared.errors import CatalogueError
from shared.images import SUFFIXES

# Pictures that a shop may well have, but that we can't read: said, rather than passed over like a text file.
_FOREIGN_SUFFIXES = frozenset(
    {".avif", ".heic", ".heif", ".jp2", ".jxl", ".psd", ".svg", ".raw", ".cr2", ".nef", ".dng"}
)
_KNOWN_FIELDS = ("item_id", "category", "image", "images")
_MAX_NAME_CHARS = 500


@dataclass(frozen=True)
class Problem:
    """An entry that was left out.

    Attributes:
        file: the catalogue file or the image, as the user would name it.
        row: the line in a catalogue file, from 1, the header being 1; None for folders.
        item_id: where it is known.
        reason: one sentence.
    """

    file: str
    row: int | None
    item_id: str | None
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def sentence(self) -> str:
        """For a person."""
        return f"{self.file if self.row is None else f'{self.file}, row {self.row}'}: {self.reason}"


@dataclass(frozen=True)
class Entry:
    """A row of a catalogue file, or an image in a folder, before it is checked; `error` where it can't even be read."""

    file: str
    row: int | None
    fields: dict[str, Any]
    error: str | None = None


class EntryError(Exception):
    """Why one entry can't be used."""


@dataclass(frozen=True)
class Catalogue:
    """A catalogue as read.

    Attributes:
        path: what the user named.
        image_root: what image paths are relative to.
        items: in the catalogue's order (folders: sorted).
        sources: for each item, where it was read, for messages.
        problems: entries left out.
    """

    path: Path
    image_root: Path
    items: tuple[Item, ...]
    sources: tuple[Entry, ...]
    problems: tuple[Problem, ...]

    @property
    def entries(self) -> int:
        """How many there were, good and bad: what `--max-bad` is a share of."""
        return sum(len(item.images) for item in self.items) + len(self.problems)


def read_catalogue(path: Path, image_root: Path | None = None) -> Catalogue:
    """Read a catalogue.

    Args:
        path: a directory, or a file that ends in `.csv`, `.tsv`, `.jsonl`, `.ndjson` or `.json` (an object a line).
        image_root: what a file's image paths are relative to and must lie in; by default the file's directory.

    Raises:
        CatalogueError: it can't be read at all, or has no entries.
    """
    if not path.exists():
        raise CatalogueError(f"the catalogue {path} does not exist")
    if path.is_dir():
        root, entries = path.resolve(), _folder_entries(path)
    elif path.suffix.lower() in (".csv", ".tsv"):
        root, entries = (image_root or path.parent).resolve(), _csv_entries(path)
    elif path.suffix.lower() in (".jsonl", ".ndjson", ".json"):
        root, entries = (image_root or path.parent).resolve(), _json_lines_entries(path)
    else:
        raise CatalogueError(f"the catalogue {path} is neither a directory nor a .csv, .tsv, .jsonl or .ndjson file")
    return _check_entries(path, root, entries)


def _check_entries(path: Path, root: Path, entries: Iterable[Entry]) -> Catalogue:
    items: list[Item] = []
    sources: list[Entry] = []
    problems: list[Problem] = []
    seen: dict[str, Entry] = {}
    for entry in entries:
        item_id = _text_or_none(entry.fields.get("item_id"))
        item_id = None if item_id is None else _shown(item_id)
        try:
            item = _to_item(entry, root, problems)
            if item.item_id in seen:
                raise EntryError(f"the item id {item.item_id!r} was already used {_where(seen[item.item_id])}")
        except EntryError as error:
            problems.append(Problem(entry.file, entry.row, item_id, str(error)))
            continue
        seen[item.item_id] = entry
        items.append(item)
        sources.append(entry)
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
    category = unicodedata.normalize("NFC", _name(fields, "category"))
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
    if not re.search(r"[|;]", text) or os.path.lexists(root / text.strip()):
        return [text]
    return [part for part in re.split(r"[|;]", text) if part.strip()]


def _inside_root(reference: str, root: Path) -> str:
    """The path relative to the root; nothing outside may be read, since the service hands images out."""
    if "://" in reference:
        raise EntryError(f"the image {reference!r} is an address: download it and give its path")
    if "\0" in reference or not _is_unicode(reference):
        raise EntryError(f"the image name {reference!r} is not valid UTF-8: rename the file")
    joined = Path(os.path.normpath(root / reference))
    if not os.path.isfile(joined):  # unlike Path.is_file, False for a name that is too long
        raise EntryError(f"the image {reference!r} does not exist in {root}")
    if not joined.resolve().is_relative_to(root) or not joined.is_relative_to(root):
        raise EntryError(f"the image {reference!r} lies outside {root}: name a higher directory with --image-root")
    return joined.relative_to(root).as_posix()


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _folder_entries(path: Path) -> Iterator[Entry]:
    """An entry for each picture below a category's folder; other files and hidden ones are passed over."""
    for directory, folders, files in os.walk(path, onerror=_refuse_folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for folder in (Path(directory, name) for name in folders):
            if folder.is_symlink():
                yield Entry(_shown(folder), None, {}, "is a link to a folder, which is not followed: copy the folder")
        for name in sorted(files):
            suffix = Path(name).suffix.lower()
            if name.startswith(".") or suffix not in SUFFIXES | _FOREIGN_SUFFIXES:
                continue
            file = Path(directory, name)
            relative = file.relative_to(path).as_posix()
            category = PurePosixPath(relative).parts[0]
            fields = {"item_id": relative, "category": category, "images": [relative]}
            yield Entry(_shown(file), None, fields, _folder_error(relative, suffix))


def _refuse_folder(error: OSError) -> None:
    raise CatalogueError(f"the folder {error.filename} can't be read: {error.strerror}") from error


def _folder_error(relative: str, suffix: str) -> str | None:
    if suffix in _FOREIGN_SUFFIXES:
        return f"{suffix} images can't be read: convert it to JPEG, PNG or WebP"
    if not _is_unicode(relative):
        return "the file's name is not valid UTF-8: rename it"
    if "/" not in relative:
        return "lies beside the category folders: move it into one"
    return None


def _shown(name: Path | str) -> str:
    return str(name).encode("utf-8", "backslashreplace").decode()


def _csv_entries(path: Path) -> Iterator[Entry]:
    with _open_text(path) as file:
        try:
            header = file.readline()
            delimiter = max(",;\t", key=header.count)
            file.seek(0)
            rows = csv.DictReader(file, delimiter=delimiter, strict=True)
            _check_header(path, rows.fieldnames or [])
            # Rows may span lines, so the number of a row is the line on which it ends.
            for row in rows:
                extra = row.pop(None, None)
                error = None if extra is None else f"has {len(extra)} more columns than the header"
                yield Entry(path.name, rows.line_num, {k: v for k, v in row.items() if v not in (None, "")}, error)
        except UnicodeDecodeError as error:
            raise CatalogueError(f"the catalogue {path} is not in UTF-8: {error}") from error
        except csv.Error as error:
            raise CatalogueError(f"the catalogue {path} is no CSV file: row {rows.reader.line_num}: {error}") from error


def _check_header(path: Path, names: Iterable[str]) -> None:
    names = list(names)
    missing = [name for name in ("item_id", "category") if name not in names]
    if "image" not in names and "images" not in names:
        missing.append("image (or images)")
    if missing:
        raise CatalogueError(f"the header of {path} lacks {', '.join(missing)}; found {', '.join(names) or 'nothing'}")


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
