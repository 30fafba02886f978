"""Differences of states made by hand; no item of random states is lost or counted twice."""

import random
from typing import Any

import pytest

from indexer.catalogue.diff import Changes, ItemState, Moved, States, compare, states
from shared.catalogue.items import Item

_A, _B, _C = (letter * 32 for letter in (b"a", b"b", b"c"))


def _state(category: str = "mugs", *digests: bytes, **metadata: Any) -> ItemState:
    return ItemState(category, digests or (_A,), metadata)


def _counts(changes: Changes) -> dict[str, int]:
    lists = {name: len(value) for name, value in vars(changes).items() if name != "unchanged"}
    return {name: count for name, count in [*lists.items(), ("unchanged", changes.unchanged)] if count}


def test_equal_states_are_unchanged() -> None:
    some = {"1": _state("mugs", _A, _B, price=1), "2": _state("hats", _C)}
    assert compare(some, dict(some)) == Changes((), (), (), (), (), unchanged=2)
    assert compare({}, {}) == Changes((), (), (), (), (), unchanged=0)


def test_added_and_removed_items() -> None:
    before = {"kept": _state(), "gone 2": _state("mugs", _B), "gone 1": _state("mugs", _C)}
    after = {"kept": _state(), "new 2": _state("mugs", _A, _A), "new 1": _state("mugs", _A, _B)}
    assert compare(before, after) == Changes(("new 1", "new 2"), ("gone 1", "gone 2"), (), (), (), unchanged=1)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        (_state("mugs", _B, price=1), {"edited": 1}),
        (_state("mugs", _A, _B, price=1), {"edited": 1}),
        (_state("mugs", _A, price=2), {"described": 1}),
        (_state("mugs", _A), {"described": 1}),
        (_state("hats", _A, price=1), {"moved": 1}),
        (_state("hats", _A, price=2), {"moved": 1}),
        (_state("hats", _B, price=2), {"moved": 1, "edited": 1}),
        (_state("mugs", _B, price=2), {"edited": 1}),
    ],
)
def test_changes_of_an_item(now: ItemState, expected: dict[str, int]) -> None:
    others = {"other": _state("hats", _C)}
    assert _counts(compare({"1": _state("mugs", _A, price=1), **others}, {"1": now, **others})) == {
        **expected,
        "unchanged": 1,
    }


def test_the_order_of_images_counts() -> None:
    """The first one stands for the item."""
    assert _counts(compare({"1": _state("mugs", _A, _B)}, {"1": _state("mugs", _B, _A)})) == {"edited": 1}


def test_a_moved_item_names_both_categories() -> None:
    (moved,) = compare({"1": _state("mugs")}, {"1": _state("hats")}).moved
    assert moved == Moved("1", "hats", "1", "mugs")
    assert moved.sentence() == "1: mugs → hats"


def test_in_folders_a_moved_item_is_identified_by_its_images() -> None:
    changes = compare({"mugs/1.jpg": _state("mugs", _A)}, {"hats/1.jpg": _state("hats", _A)})
    assert changes == Changes((), (), (Moved("hats/1.jpg", "hats", "mugs/1.jpg", "mugs"),), (), (), unchanged=0)
    assert changes.moved[0].sentence() == "mugs/1.jpg → hats/1.jpg"


def test_a_renamed_and_edited_item_is_removed_and_added() -> None:
    changes = compare({"mugs/1.jpg": _state("mugs", _A)}, {"hats/1.jpg": _state("hats", _B)})
    assert _counts(changes) == {"added": 1, "removed": 1}


def test_copies_are_paired_in_order() -> None:
    before = {"a1": _state("mugs", _A), "a2": _state("mugs", _A), "a3": _state("mugs", _A)}
    after = {"b1": _state("hats", _A), "b2": _state("hats", _A)}
    changes = compare(before, after)
    assert [(one.was_item_id, one.item_id) for one in changes.moved] == [("a1", "b1"), ("a2", "b2")]
    assert (changes.added, changes.removed) == ((), ("a3",))
    changes = compare(after, before)
    assert [(one.was_item_id, one.item_id) for one in changes.moved] == [("b1", "a1"), ("b2", "a2")]
    assert changes.added == ("a3",)


def test_items_without_digests_are_not_paired() -> None:
    """Snapshots of earlier versions have no digests."""
    changes = compare({"old": ItemState("mugs", (), {})}, {"new": ItemState("mugs", (), {})})
    assert _counts(changes) == {"added": 1, "removed": 1}


def _random_states(chance: random.Random) -> States:
    ids = chance.sample(range(40), chance.randrange(30))
    return {
        f"item {number}": ItemState(
            chance.choice("abc"), tuple(bytes([chance.randrange(12)]) for _ in range(chance.randint(1, 2))), {}
        )
        for number in ids
    }


@pytest.mark.parametrize("seed", range(50))
def test_every_item_is_accounted_for_once(seed: int) -> None:
    chance = random.Random(seed)
    before, after = _random_states(chance), _random_states(chance)
    changes = compare(before, after)
    renamed = [one for one in changes.moved if one.item_id != one.was_item_id]
    kept = before.keys() & after.keys()
    came = [*changes.added, *(one.item_id for one in renamed)]
    went = [*changes.removed, *(one.was_item_id for one in renamed)]
    assert sorted(came) == sorted(after.keys() - before.keys())
    assert sorted(went) == sorted(before.keys() - after.keys())
    assert all(before[one.was_item_id].digests == after[one.item_id].digests for one in renamed)
    assert not {before[one].digests for one in changes.removed} & {after[one].digests for one in changes.added}
    same = sum(before[one] == after[one] for one in kept)
    assert changes.unchanged == same
    back = compare(after, before)
    assert (len(back.added), len(back.removed)) == (len(changes.removed), len(changes.added))
    assert (back.edited, back.unchanged) == (changes.edited, changes.unchanged)


def test_states_are_by_item_id() -> None:
    items = [(Item("1", "mugs", ("a.jpg",), {"price": 1}), (_A,)), (Item("2", "hats", ("b.jpg",)), ())]
    assert states(items) == {"1": ItemState("mugs", (_A,), {"price": 1}), "2": ItemState("hats", (), {})}


def test_rows_have_counts_and_the_first_items() -> None:
    after = {f"{number}": _state("mugs", bytes([number])) for number in range(7)} | {"x": _state("hats", price=1)}
    changes = compare({"x": _state("mugs"), "y": _state("mugs", _B)}, after)
    assert changes.rows() == [
        ("added", 7, "0, 1, 2, 3, 4 and 2 more"),
        ("removed", 1, "y"),
        ("moved", 1, "x: mugs → hats"),
        ("other images", 0, ""),
        ("other metadata", 0, ""),
        ("unchanged", 0, ""),
    ]
    assert changes.rows(examples=7)[0] == ("added", 7, "0, 1, 2, 3, 4, 5, 6")
