import json
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from indexer.data_quality import suspect_labels as module
from indexer.data_quality.near_duplicates import NearDuplicates, find_near_duplicates
from indexer.data_quality.snapshot_images import SnapshotImages
from indexer.data_quality.suspect_labels import SuspectLabels, doubt, find_suspect_labels, gather_evidence
from indexer.groups.nearest_images import nearest_images
from shared.vectors import Vectors, unit_rows
from tests.support.builders.partitions import clusters, make_originals


def _find(originals: SnapshotImages) -> SuspectLabels:
    near = nearest_images(originals)
    return find_suspect_labels(originals, near, find_near_duplicates(originals, near))


def _mislabelled(share: float, seed: int = 0) -> tuple[Vectors, list[str], dict[str, str]]:
    """600 images in five clusters, and the right category of each item whose label is wrong."""
    rows, categories = clusters(600, 5, spread=1.2, seed=seed)
    random = np.random.default_rng(seed)
    wrong = {}
    for number in random.permutation(600)[: round(share * 600)].tolist():
        wrong[f"item {number}"] = categories[number]
        categories[number] = str(random.choice([one for one in "abcde" if one != categories[number]]))
    return rows, categories, wrong


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_wrong_labels_are_found_and_right_ones_left_alone(seed: int) -> None:
    rows, categories, wrong = _mislabelled(0.03, seed)
    found = _find(make_originals(rows, categories))
    ids = [one.item_id for one in found.suspects]
    right = [one for one in ids if one in wrong]
    assert len(right) >= 0.9 * len(wrong)
    assert len(right) >= 0.8 * len(ids)
    assert all(one.suggested == wrong[one.item_id] for one in found.suspects if one.item_id in wrong)
    assert [one.doubt for one in found.suspects] == sorted((one.doubt for one in found.suspects), reverse=True)


def test_a_suspect_tells_who_thinks_what() -> None:
    rows, categories, wrong = _mislabelled(0.03)
    found = _find(make_originals(rows, categories))
    worst = found.suspects[0]
    number = int(worst.item_id.split()[1])
    assert (worst.category, worst.image) == (categories[number], f"{number}.jpg")
    assert worst.suggested == wrong[worst.item_id]
    assert worst.neighbours == 10
    assert worst.neighbours_for_label < worst.neighbours_for_suggested <= 10
    shares = (worst.neighbours_for_suggested - worst.neighbours_for_label) / 10
    scores = worst.classifier_for_suggested - worst.classifier_for_label
    assert worst.doubt == pytest.approx(0.3 * shares + 0.7 * scores, abs=1e-3)


def test_both_have_to_disagree(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, categories, _ = _mislabelled(0.03)
    originals = make_originals(rows, categories)
    near = nearest_images(originals)
    duplicates = find_near_duplicates(originals, near)
    assert find_suspect_labels(originals, near, duplicates).suspects
    evidence = gather_evidence(originals, near, duplicates)
    sure = np.eye(5, dtype=np.float32)[originals.columns]
    for agreeing in (replace(evidence, votes=10 * sure.astype(np.int64)), replace(evidence, scores=sure)):
        monkeypatch.setattr(module, "gather_evidence", lambda *_, given=agreeing: given)
        monkeypatch.setattr(module, "MIN_DOUBT", -1.0)
        assert find_suspect_labels(originals, near, duplicates).suspects == ()


def test_copies_with_the_same_wrong_label_do_not_bear_each_other_out() -> None:
    rows, categories = clusters(300, 3, spread=1.0)
    a = rows[[place for place, category in enumerate(categories) if category == "a"]].mean(axis=0)
    copies = unit_rows(a + 0.02 * unit_rows(np.random.default_rng(5).normal(size=(8, 32))))
    originals = make_originals(np.concatenate([rows, copies]), [*categories, *"b" * 8])
    found = _find(originals)
    assert {f"item {number}" for number in range(300, 308)} <= {one.item_id for one in found.suspects}


def test_an_items_own_images_do_not_bear_it_out() -> None:
    rows, categories = clusters(300, 3, spread=0.8)
    ids = [f"item {number}" for number in range(300)]
    a = [place for place, category in enumerate(categories) if category == "a"][:8]
    order = [*(place for place in range(300) if place not in a), *a]
    labels = ["b" if place in a else categories[place] for place in order]
    items = ["mixed up" if place in a else ids[place] for place in order]
    originals = make_originals(rows[order], labels, items)
    assert sum(one.item_id == "mixed up" for one in _find(originals).suspects) == 8


def test_small_categories_are_not_judged_but_named() -> None:
    rows, categories = clusters(200, 2)
    few = unit_rows(rows[:5] + 0.3 * unit_rows(np.random.default_rng(3).normal(size=(5, 32))))
    found = _find(make_originals(np.concatenate([rows, few]), [*categories, *"ccccc"]))
    assert found.unjudged == ("c",)
    assert found.images == 200
    assert all(one.category != "c" for one in found.suspects)


@pytest.mark.parametrize("categories", [["a"] * 30, ["a"] * 3 + ["b"] * 3, ["a"]])
def test_where_there_is_nothing_to_compare_nothing_is_doubtful(categories: list[str]) -> None:
    assert _find(make_originals(clusters(len(categories), 2)[0], categories)).suspects == ()


def test_doubt_is_how_far_the_best_other_category_is_ahead() -> None:
    opinion = np.array([[0.7, 0.2, 0.1], [0.1, 0.2, 0.7], [0.5, 0.5, 0.0]], np.float32)
    doubts, suggested = doubt(opinion, np.array([0, 1, 0]))
    np.testing.assert_allclose(doubts, [-0.5, 0.5, 0.0], atol=1e-6)
    assert suggested.tolist() == [1, 2, 1]


def test_votes_are_of_the_nearest_strangers() -> None:
    rows, categories = clusters(100, 4)
    originals = make_originals(rows, categories)
    votes: NDArray[np.int64] = module._votes(originals, nearest_images(originals), np.arange(100))
    cosines = rows @ rows.T
    np.fill_diagonal(cosines, -1)
    for image in range(100):
        voters = np.argsort(-cosines[image])[:10]
        assert votes[image].tolist() == np.bincount(originals.columns[voters], minlength=4).tolist()


def test_what_is_written_is_read_again() -> None:
    rows, categories, _ = _mislabelled(0.03)
    found = _find(make_originals(rows, categories))
    assert SuspectLabels.from_dict(json.loads(json.dumps(found.as_dict()))) == found


def test_without_near_duplicates_every_item_is_a_family() -> None:
    originals = make_originals(clusters(4, 2)[0], "aabb", ["x", "x", "y", "z"])
    families = module._families(originals, NearDuplicates(0.25, True, 4, ()))
    assert families.tolist() == [0, 0, 1, 2]
