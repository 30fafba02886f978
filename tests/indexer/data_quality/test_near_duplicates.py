import json

import numpy as np
import pytest

from indexer.data_quality.near_duplicates import MAX_RATIO, NearDuplicates, find_near_duplicates
from indexer.data_quality.snapshot_images import SnapshotImages
from indexer.groups.nearest_images import nearest_images
from shared.vectors import Vectors, unit_rows
from tests.support.builders.partitions import clusters, make_originals


def _apart(n: int) -> Vectors:
    """Rows that are far from each other."""
    return np.eye(n, 16, dtype=np.float32)


def _turned(row: Vectors, cosine: float, axis: int) -> Vectors:
    """A unit row at this cosine to another, turned towards an axis that is at right angles to it."""
    return unit_rows((cosine * row + (1 - cosine**2) ** 0.5 * np.eye(16)[axis])[np.newaxis])[0]


def _find(originals: SnapshotImages, max_ratio: float = MAX_RATIO) -> NearDuplicates:
    return find_near_duplicates(originals, nearest_images(originals), max_ratio)


def _groups(found: NearDuplicates) -> list[list[str]]:
    return [[one.item_id for one in group.items] for group in found.groups]


@pytest.mark.parametrize(("cosine", "groups"), [(0.76, [["item 0", "item 3"]]), (0.74, [])])
def test_what_is_much_nearer_than_usual_is_a_group(cosine: float, groups: list[list[str]]) -> None:
    """The others are at right angles, at a distance of 1."""
    rows = _apart(4)
    rows[3] = _turned(rows[0], cosine, 9)
    found = _find(make_originals(rows, "aaaa"))
    assert _groups(found) == groups
    assert (found.images, found.exact, found.max_ratio) == (4, True, 0.25)
    for group in found.groups:
        first, second = group.items
        assert first.cosine == second.cosine == pytest.approx(cosine, abs=1e-4)
        assert first.ratio == second.ratio == pytest.approx(1 - cosine, abs=1e-4)
        assert (first.like, first.image, first.like_image) == ("item 3", "0.jpg", "3.jpg")
        assert (second.like, second.image, second.like_image) == ("item 0", "3.jpg", "0.jpg")
        assert not first.same_file


def test_the_ratio_is_the_callers() -> None:
    rows = _apart(4)
    rows[3] = _turned(rows[0], 0.6, 9)
    originals = make_originals(rows, "aaaa")
    assert _groups(_find(originals, 0.41)) == [["item 0", "item 3"]]
    assert _groups(_find(originals, 0.39)) == []


@pytest.mark.parametrize("shrunk", [1.0, 0.3, 0.1])
def test_an_embedder_that_brings_everything_nearer_changes_nothing(shrunk: float) -> None:
    """As fine-tuning does: all rows turned towards one direction."""
    random = np.random.default_rng(0)
    rows = unit_rows(random.normal(size=(200, 32)))
    rows[100:110] = unit_rows(rows[:10] + 0.2 * unit_rows(random.normal(size=(10, 32))))
    nearer = unit_rows(shrunk * rows + (1 - shrunk) * unit_rows(np.ones((1, 32))))
    found = _find(make_originals(nearer, "a" * 200))
    assert sorted(_groups(found)) == sorted([f"item {number}", f"item {100 + number}"] for number in range(10))


def test_what_is_alike_among_many_alike_is_no_duplicate() -> None:
    """Twenty products of one kind, as near to each other as a copy would be elsewhere."""
    random = np.random.default_rng(0)
    alike = unit_rows(np.eye(1, 64) + 0.4 * unit_rows(random.normal(size=(20, 64))))
    rows = np.concatenate([alike, unit_rows(random.normal(size=(200, 64)))])
    assert (alike @ alike.T).min() > 0.75
    assert _groups(_find(make_originals(rows, "a" * 220))) == []
    rows[219] = unit_rows(rows[:1] + 0.05 * unit_rows(random.normal(size=(1, 64))))[0]
    assert _groups(_find(make_originals(rows, "a" * 220))) == [["item 0", "item 219"]]


def test_pairs_are_joined_into_groups() -> None:
    """1 is near to 0 and to 2, which are not near to each other; 4 is near to 3."""
    rows = _apart(6)
    rows[0], rows[2] = _turned(rows[1], 0.8, 9), _turned(rows[1], 0.85, 10)
    rows[4] = _turned(rows[3], 0.99, 11)
    found = _find(make_originals(rows, "aaaaaa"))
    assert _groups(found) == [["item 3", "item 4"], ["item 0", "item 1", "item 2"]]  # the nearest pair first
    assert [(one.like, one.cosine) for one in found.groups[1].items] == [
        ("item 1", pytest.approx(0.8, abs=1e-4)),
        ("item 2", pytest.approx(0.85, abs=1e-4)),
        ("item 1", pytest.approx(0.85, abs=1e-4)),
    ]


def test_a_group_over_several_categories_comes_first() -> None:
    rows = _apart(4)
    rows[1], rows[3] = rows[0], _turned(rows[2], 0.9, 9)
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
    """More copies than an image has neighbours, each saved in another way."""
    random = np.random.default_rng(0)
    copies = unit_rows(np.eye(1, 64) + 0.1 * unit_rows(random.normal(size=(60, 64))))
    rows = np.concatenate([copies, unit_rows(random.normal(size=(200, 64)))])
    assert _groups(_find(make_originals(rows, "a" * 260))) == [[f"item {number}" for number in range(60)]]


def test_where_all_are_the_same_all_are_one_group() -> None:
    rows = np.repeat(_apart(1), 50, axis=0)
    assert [len(group.items) for group in _find(make_originals(rows, "a" * 50)).groups] == [50]


def test_two_items_are_too_few_to_say_what_is_usual() -> None:
    rows = np.repeat(clusters(1, 1)[0], 2, axis=0)
    assert _groups(_find(make_originals(rows, "aa", files=["x", "x"]))) == [["item 0", "item 1"]]
    assert _groups(_find(make_originals(clusters(2, 1)[0], "aa"))) == []


def test_images_of_one_item_are_no_duplicates_of_each_other() -> None:
    rows = _apart(5)
    rows[1], rows[4] = rows[0], rows[3]
    found = _find(make_originals(rows, "aaaaa", items=["x", "x", "y", "y", "z"], files=["f", "f", "g", "h", "i"]))
    assert _groups(found) == [["y", "z"]]
    assert [one.image for one in found.groups[0].items] == ["3.jpg", "4.jpg"]


def test_groups_are_those_of_brute_force() -> None:
    rows, categories = clusters(600, 120, spread=0.45)
    found = _find(make_originals(rows, categories), 0.5)
    distances = 1 - rows @ rows.T
    np.fill_diagonal(distances, np.inf)
    usual = np.sort(distances)[:, 9]
    usual = np.maximum(usual, 0.3 * np.median(usual))
    near = (distances <= 0.5 * np.minimum(usual[:, np.newaxis], usual)) | np.eye(600, dtype=bool)
    reached = near
    for _ in range(9):
        reached = reached @ near  # Booleans: paths that are longer
    wanted = {frozenset(np.flatnonzero(row)) for row in reached if row.sum() > 1}
    assert len(wanted) > 10
    assert {frozenset(int(one.item_id.split()[1]) for one in group.items) for group in found.groups} == wanted


def test_what_is_written_is_read_again() -> None:
    rows = _apart(3)
    rows[1] = rows[0]
    found = _find(make_originals(rows, "aba"))
    assert NearDuplicates.from_dict(json.loads(json.dumps(found.as_dict()))) == found
    assert found.as_dict()["groups"][0]["categories"] == ("a", "b")
