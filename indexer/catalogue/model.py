"""A catalogue as it was read: items, the entries that they come from, and problems."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shared.catalogue.items import Item
from shared.errors import CatalogueError


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of a catalogue file, or an image in a folder, before it is checked.

    Attributes:
        file: name of the catalogue file, or path of the image.
        row: number of the row, from 1; None for folders.
        error: why it can't be read, if so.
    """

    file: str
    row: int | None
    fields: dict[str, Any]
    error: str | None = None


@dataclass(frozen=True)
class Problem:
    """An entry that was left out.

    Attributes:
        file: the catalogue file or the image, as the user would name it.
        row: number of the line in a catalogue file, from 1 and with the header; None for folders.
        item_id: None where it can't be read.
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
        """The problem for people: where, and why."""
        return f"{self.file if self.row is None else f'{self.file}, row {self.row}'}: {self.reason}"


class EntryError(Exception):
    """An entry can't be used; the message says why."""


@dataclass(frozen=True)
class Catalogue:
    """A catalogue as read.

    Attributes:
        path: as the user gave it.
        image_root: directory or URL that image paths are relative to.
        items: in the catalogue's order (folders: sorted).
        sources: the entry of each item, without its fields, for messages.
        problems: entries left out.
    """

    path: Path
    image_root: Path
    items: tuple[Item, ...]
    sources: tuple[Entry, ...]
    problems: tuple[Problem, ...]

    @property
    def n_images(self) -> int:
        """Number of images of all items."""
        return sum(len(item.images) for item in self.items)

    @property
    def n_entries(self) -> int:
        """Number of entries, good and bad; `--max-bad` is a share of it."""
        return self.n_images + len(self.problems)


def check_header(path: Path, names: Iterable[str]) -> None:
    """Reject a table that lacks a column which every item needs.

    Raises:
        CatalogueError: names the missing columns.
    """
    names = list(names)
    missing = [name for name in ("item_id", "category") if name not in names]
    if "image" not in names and "images" not in names:
        missing.append("image (or images)")
    if missing:
        raise CatalogueError(f"the header of {path} lacks {', '.join(missing)}; it has {', '.join(names) or 'nothing'}")
