"""Differences between two states of a catalogue, item by item."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, TypeAlias

from shared.catalogue.items import Item, Metadata


class ItemState(NamedTuple):
    """The compared parts of an item: category, SHA-256 of each image in order, and metadata."""

    category: str
    digests: tuple[bytes, ...]
    metadata: Metadata


States: TypeAlias = Mapping[str, ItemState]
"""Item states by item id."""


def states(items: Iterable[tuple[Item, tuple[bytes, ...]]]) -> States:
    """The states of items with the digests of their images."""
    return {item.item_id: ItemState(item.category, digests, item.metadata) for item, digests in items}


@dataclass(frozen=True)
class Moved:
    """An item in another category, or with another id.

    Where ids are paths, an item gets another id with its category; it is identified by its images.
    """

    item_id: str
    category: str
    was_item_id: str
    was_category: str

    def sentence(self) -> str:
        """The move for people."""
        if self.item_id != self.was_item_id:
            return f"{self.was_item_id} → {self.item_id}"
        return f"{self.item_id}: {self.was_category} → {self.category}"


@dataclass(frozen=True)
class Changes:
    """Item ids by kind of change; an item that was moved and edited is in both.

    Attributes:
        added: only in the later state.
        removed: only in the earlier one.
        moved: in another category, or with another id.
        edited: with other images.
        described: only the metadata differ.
        unchanged: number of items that are the same.
    """

    added: tuple[str, ...]
    removed: tuple[str, ...]
    moved: tuple[Moved, ...]
    edited: tuple[str, ...]
    described: tuple[str, ...]
    unchanged: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    def rows(self, examples: int = 5) -> list[tuple[str, int, str]]:
        """Rows of a table: kind of change, number of items, and the first few of them."""
        changes = {
            "added": self.added,
            "removed": self.removed,
            "moved": [item.sentence() for item in self.moved],
            "other images": self.edited,
            "other metadata": self.described,
        }
        rows = [(what, len(ids), _first(list(ids), examples)) for what, ids in changes.items()]
        return [*rows, ("unchanged", self.unchanged, "")]


def compare(before: States, after: States) -> Changes:
    """Compare two states; ids in the result are sorted."""
    both = sorted(before.keys() & after.keys())
    edited = [item_id for item_id in both if before[item_id].digests != after[item_id].digests]
    described = [item_id for item_id in both if _only_metadata_differ(before[item_id], after[item_id])]
    other_category = [item_id for item_id in both if before[item_id].category != after[item_id].category]
    moved = [_moved(item_id, item_id, before, after) for item_id in other_category]
    touched = set(other_category) | set(edited) | set(described)
    renamed = _renamed(before, after)
    return Changes(
        added=tuple(sorted(after.keys() - before.keys() - set(renamed.values()))),
        removed=tuple(sorted(before.keys() - after.keys() - set(renamed))),
        moved=tuple(moved) + tuple(_moved(was, now, before, after) for was, now in sorted(renamed.items())),
        edited=tuple(edited),
        described=tuple(described),
        unchanged=len(both) - len(touched),
    )


def _moved(was: str, now: str, before: States, after: States) -> Moved:
    return Moved(now, after[now].category, was, before[was].category)


def _renamed(before: States, after: States) -> dict[str, str]:
    """Ids of removed items → ids of added items with the same images."""
    new: dict[tuple[bytes, ...], list[str]] = {}
    for item_id in sorted(after.keys() - before.keys(), reverse=True):
        new.setdefault(after[item_id].digests, []).append(item_id)
    removed = sorted(before.keys() - after.keys())
    return {was: ids.pop() for was in removed if before[was].digests and (ids := new.get(before[was].digests))}


def _only_metadata_differ(before: ItemState, after: ItemState) -> bool:
    return before[:2] == after[:2] and dict(before.metadata) != dict(after.metadata)


def _first(items: list[str], count: int) -> str:
    rest = len(items) - count
    return ", ".join(items[:count]) + (f" and {rest} more" if rest > 0 else "")
