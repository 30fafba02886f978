"""What is different between two states of a catalogue, item by item."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, TypeAlias

from shared.catalogue.items import Item, Metadata


class ItemState(NamedTuple):
    """What counts of an item: its category, the SHA-256 of its images in order, and the rest."""

    category: str
    digests: tuple[bytes, ...]
    metadata: Metadata


States: TypeAlias = Mapping[str, ItemState]
"""By item id."""


def states(items: Iterable[tuple[Item, tuple[bytes, ...]]]) -> States:
    """The states of items with the digests of their images."""
    return {item.item_id: ItemState(item.category, digests, item.metadata) for item, digests in items}


@dataclass(frozen=True)
class Moved:
    """An item that is in another category now, or has another id.

    Where ids are paths, as those of folders are, an item gets another id with its category: it is known by its images.
    """

    item_id: str
    category: str
    was_item_id: str
    was_category: str

    def told(self) -> str:
        """For a person."""
        if self.item_id != self.was_item_id:
            return f"{self.was_item_id} → {self.item_id}"
        return f"{self.item_id}: {self.was_category} → {self.category}"


@dataclass(frozen=True)
class Changes:
    """Item ids by what became of them; an item that was moved and edited is in both.

    Attributes:
        added: only in the later state.
        removed: only in the earlier one.
        moved: in another category, or called otherwise.
        edited: other images.
        described: other metadata alone.
        unchanged: how many are the same.
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
        """For a table: what happened, to how many items, and the first few."""
        told = {
            "added": self.added,
            "removed": self.removed,
            "moved": [one.told() for one in self.moved],
            "other images": self.edited,
            "other metadata": self.described,
        }
        rows = [(what, len(ids), _first(list(ids), examples)) for what, ids in told.items()]
        return [*rows, ("unchanged", self.unchanged, "")]


def compare(before: States, after: States) -> Changes:
    """Tell two states apart; ids are sorted."""
    both = sorted(before.keys() & after.keys())
    edited = [one for one in both if before[one].digests != after[one].digests]
    described = [one for one in both if _described(before[one], after[one])]
    moved = [_moved(one, one, before, after) for one in both if before[one].category != after[one].category]
    touched = {one.item_id for one in moved} | set(edited) | set(described)
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
    """From the ids of items that are gone to those of new ones with the very same images."""
    new: dict[tuple[bytes, ...], list[str]] = {}
    for item_id in sorted(after.keys() - before.keys(), reverse=True):
        new.setdefault(after[item_id].digests, []).append(item_id)
    gone = sorted(before.keys() - after.keys())
    return {was: ids.pop() for was in gone if before[was].digests and (ids := new.get(before[was].digests))}


def _described(before: ItemState, after: ItemState) -> bool:
    return before[:2] == after[:2] and dict(before.metadata) != dict(after.metadata)


def _first(told: list[str], count: int) -> str:
    rest = len(told) - count
    return ", ".join(told[:count]) + (f" and {rest} more" if rest > 0 else "")
