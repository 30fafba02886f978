"""A catalogue as it was read, its entries, and what was wrong with them."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shared.catalogue.items import Item
from shared.errors import CatalogueError


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of a catalogue file, or an image in a folder, before it is checked; `error` where it can't even be read."""

    file: str
    row: int | None
    fields: dict[str, Any]
    error: str | None = None


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
    def n_images(self) -> int:
        """How many images the items have."""
        return sum(len(item.images) for item in self.items)

    @property
    def n_entries(self) -> int:
        """How many there were, good and bad: what `--max-bad` is a share of."""
        return self.n_images + len(self.problems)


def check_header(path: Path, names: Iterable[str]) -> None:
    """Refuse a table that lacks a column which every item needs.

    Raises:
        CatalogueError: it names the columns.
    """
    names = list(names)
    missing = [name for name in ("item_id", "category") if name not in names]
    if "image" not in names and "images" not in names:
        missing.append("image (or images)")
    if missing:
        raise CatalogueError(f"the header of {path} lacks {', '.join(missing)}; found {', '.join(names) or 'nothing'}")
