import json

import numpy as np
import pytest
from partitions import clusters, make_originals

from indexer.near_duplicates import MIN_COSINE, NearDuplicates, find_near_duplicates
from indexer.neighbours import nearest_images
from indexer.originals import Originals
from shared.vectors import Vectors, unit_rows


def _apart(n: int) -> Vectors:
    """Rows that are far from each other."""
    return np.eye(n, 16, dtype=np.float32)


def _turned(row: Vectors, cosine: float, axis: int) -> Vectors:
    """A unit row at this cosine to another, turned towards an axis that is at right angles to it."""
    return unit_rows((cosine * row + (1 - cosine**2) ** 0.5 * np.eye(16)[axis])[np.newaxis])[0]


def _find(originals: Originals, min_cosine: float = MIN_COSINE) -> NearDuplicates:
    return find_near_duplicates(originals, nearest_images(originals), min_cosine)


def _groups(found: NearDuplicates) -> list[list[str]]:
    return [[one.item_id for one in group.items] for group in found.groups]


@pytest.mark.parametrize(("cosine", "groups"), [(0.96, [["item 0", "item 3"]]), (0.94, [])])
def test_what_is_nearer_than_the_threshold_is_a_group(cosine: float, groups: list[list[str]]) -> None:
    rows = _apart(4)
    rows[3] = _turned(rows[0], cosine, 9)
    found = _find(make_originals(rows, "aaaa"))
    assert _groups(found) == groups
    assert (found.images, found.exact, found.min_cosine) == (4, True, 0.95)
    for group in found.groups:
        first, second = group.items
        assert first.cosine == second.cosine == pytest.approx(cosine, abs=1e-4)
        assert (first.like, first.image, first.like_image) == ("item 3", "0.jpg", "3.jpg")
        assert (second.like, second.image, second.like_image) == ("item 0", "3.jpg", "0.jpg")
        assert not first.same_file


def test_the_threshold_is_the_callers() -> None:
    rows = _apart(2)
    rows[1] = _turned(rows[0], 0.8, 9)
    originals = make_originals(rows, "aa")
    assert _groups(_find(originals, 0.79)) == [["item 0", "item 1"]]
    assert _groups(_find(originals, 0.81)) == []


def test_pairs_are_joined_into_groups() -> None:
    """1 is near to 0 and to 2, which are not near to each other; 4 is near to 3."""
    rows = _apart(6)
    rows[0], rows[2] = _turned(rows[1], 0.96, 9), _turned(rows[1], 0.97, 10)
    rows[4] = _turned(rows[3], 0.99, 11)
    assert rows[0] @ rows[2] < 0.95
    found = _find(make_originals(rows, "aaaaaa"))
    assert _groups(found) == [["item 3", "item 4"], ["item 0", "item 1", "item 2"]]  # the nearest pair first
    assert [(one.like, one.cosine) for one in found.groups[1].items] == [
        ("item 1", pytest.approx(0.96, abs=1e-4)),
        ("item 2", pytest.approx(0.97, abs=1e-4)),
        ("item 1", pytest.approx(0.97, abs=1e-4)),
    ]


def test_a_group_over_several_categories_comes_first() -> None:
    rows = _apart(4)
    rows[1], rows[3] = rows[0], _turned(rows[2], 0.96, 9)
    found = _find(make_originals(rows, "aaab"))
    assert [group.categories for group in found.groups] == [("a", "b"), ("a",)]
    assert found.contradictions == 1


def test_the_same_file_is_told_from_a_file_that_looks_the_same() -> None:
    rows = _apart(5)
    rows[1] = rows[4] = rows[0]
    found = _find(make_originals(rows, "aabba", files=["x", "y", "z", "w", "x"]))
    assert _groups(found) == [["item 0", "item 1", "item 4"]]
    assert [one.cosine for one in found.groups[0].items] == [1.0, 1.0, 1.0]
    same = {one.item_id: (one.like, one.same_file) for one in found.groups[0].items}
    assert same["item 4"][0] in ("item 0", "item 1")
    (group,) = _find(make_originals(rows[[0, 2, 4]], "aab", files=["x", "y", "x"])).groups
    assert [one.same_file for one in group.items] == [True, True]


def test_the_same_file_is_found_however_often_it_is_there() -> None:
    """As a shop's picture for what has none: more copies than an image has neighbours."""
    rows = np.concatenate([np.repeat(_apart(1), 100, axis=0), _apart(3)[1:]])
    found = _find(make_originals(rows, "a" * 60 + "b" * 42, files=["none yet"] * 100 + ["c", "d"]))
    assert _groups(found) == [[f"item {number}" for number in range(100)]]


def test_many_near_duplicates_that_are_no_same_files_are_one_group() -> None:
    rows = np.concatenate([np.repeat(_apart(1), 100, axis=0), _apart(3)[1:]])
    assert [len(group.items) for group in _find(make_originals(rows, "a" * 102)).groups] == [100]


def test_images_of_one_item_are_no_duplicates_of_each_other() -> None:
    rows = _apart(5)
    rows[1], rows[4] = rows[0], rows[3]
    found = _find(make_originals(rows, "aaaaa", items=["x", "x", "y", "y", "z"], files=["f", "f", "g", "h", "i"]))
    assert _groups(found) == [["y", "z"]]
    assert [one.image for one in found.groups[0].items] == ["3.jpg", "4.jpg"]


def test_groups_are_those_of_brute_force() -> None:
    rows, categories = clusters(300, 60, spread=0.45)
    found = _find(make_originals(rows, categories), 0.9)
    near = rows @ rows.T >= 0.9
    reached = near
    for _ in range(9):
        reached = reached @ near  # Booleans: paths that are twice as long and more
    wanted = {frozenset(np.flatnonzero(row)) for row in reached if row.sum() > 1}
    assert len(wanted) > 10
    assert {frozenset(int(one.item_id.split()[1]) for one in group.items) for group in found.groups} == wanted


def test_what_is_written_is_read_again() -> None:
    rows = _apart(3)
    rows[1] = rows[0]
    found = _find(make_originals(rows, "aba"))
    assert NearDuplicates.from_dict(json.loads(json.dumps(found.as_dict()))) == found
    assert found.as_dict()["groups"][0]["categories"] == ("a", "b")
