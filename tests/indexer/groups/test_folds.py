from collections import Counter

import numpy as np
import pytest

from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.groups import folds as module
from indexer.groups.catalogue_folds import CatalogueFolds
from indexer.groups.folds import N_FOLDS, NO_FOLD
from shared.catalogue.items import Item
from shared.vectors import unit_rows
from tests.support.builders.series import Series, keep, make_series


def _whole_groups(folds: CatalogueFolds) -> bool:
    """True if every group is in one fold."""
    pairs = set(zip(folds.groups.numbers.tolist(), folds.numbers.tolist(), strict=True))
    return len(pairs) == folds.groups.n_groups


def _catalogue(rows: np.ndarray, categories: list[str], items: list[int] | None = None) -> EmbeddedCatalogue:
    numbers = items or list(range(len(rows)))
    images = Counter(numbers)
    shown = tuple(
        Item(f"i{number}", categories[numbers.index(number)], ("x.jpg",) * images[number]) for number in images
    )
    digests = tuple(row.tobytes() for row in rows)
    image_items = np.searchsorted(list(images), numbers)
    return EmbeddedCatalogue(shown, image_items, digests, rows[:, np.newaxis], (), len(rows))


@pytest.mark.parametrize("seed", range(3))
def test_no_group_is_in_two_folds_and_folds_are_of_one_size(seed: int) -> None:
    series = make_series(n_shoots=13, seed=seed)
    folds = CatalogueFolds(series.embedded, None, seed)
    assert _whole_groups(folds)
    assert folds.divided == ()
    for column in range(4):
        sizes = np.bincount(folds.numbers[folds.columns == column], minlength=N_FOLDS)
        assert sizes.sum() == 104
        assert sizes.max() - sizes.min() <= 8  # one shoot
    totals = np.bincount(folds.numbers, minlength=N_FOLDS)
    assert totals.max() - totals.min() <= 8


def test_the_seed_decides_and_nothing_else() -> None:
    series = make_series()
    numbers = [CatalogueFolds(series.embedded, None, seed).numbers for seed in (0, 0, 1)]
    np.testing.assert_array_equal(numbers[0], numbers[1])
    assert (numbers[0] != numbers[2]).mean() > 0.5
    shuffled = np.random.default_rng(0).permutation(len(series.shoots))
    again = CatalogueFolds(keep(series, shuffled), None, 0).numbers
    np.testing.assert_array_equal(again, numbers[0][shuffled])


def test_known_images_keep_their_folds_whatever_comes_and_goes() -> None:
    series = make_series(n_shoots=20)
    random = np.random.default_rng(1)
    order = random.permutation(len(series.shoots))
    before = CatalogueFolds(keep(series, np.sort(order[:500])), None, 0)
    now = np.sort(order[100:])
    after = CatalogueFolds(keep(series, now), before.stored(), 7)
    in_both = np.isin(now, order[100:500])
    np.testing.assert_array_equal(after.numbers[in_both], before.numbers[np.isin(np.sort(order[:500]), order[100:500])])
    is_new = ~in_both
    for image in np.flatnonzero(is_new):
        shoot = (series.shoots[now] == series.shoots[now[image]]) & in_both
        assert not shoot.any() or after.numbers[image] in after.numbers[shoot]  # it has joined its shoot
    assert np.bincount(after.numbers, minlength=N_FOLDS).min() > 0.15 * len(now)


def test_a_new_image_joins_the_nearest_that_it_is_linked_to() -> None:
    series = make_series()
    embedded = series.embedded
    known = CatalogueFolds(embedded, None, 0)
    scattered = known.stored().__class__(known.stored().keys, np.arange(len(series.shoots)) % N_FOLDS)
    row = unit_rows(embedded.originals[5:6] + 0.02)
    item = Item("new", embedded.items[5].category, ("new.jpg",))
    grown = EmbeddedCatalogue(
        (*embedded.items, item),
        np.arange(len(embedded.items) + 1),
        (*embedded.digests, b"new"),
        np.concatenate([embedded.views, row[:, np.newaxis]]),
        (),
        0,
    )
    folds = CatalogueFolds(grown, scattered, 0)
    assert folds.groups.linked(len(embedded.items))[0] == 5
    assert folds.numbers[-1] == folds.numbers[5]


def test_an_item_joins_its_own_images() -> None:
    rows = unit_rows(np.random.default_rng(0).normal(size=(40, 64)))
    items = np.repeat(np.arange(20), 2).tolist()
    before = CatalogueFolds(_catalogue(rows[::2], ["a", "b"] * 10, list(range(20))), None, 0)
    after = CatalogueFolds(_catalogue(rows, ["a", "a", "b", "b"] * 10, items), before.stored(), 0)
    np.testing.assert_array_equal(after.numbers[::2], before.numbers)
    np.testing.assert_array_equal(after.numbers[1::2], before.numbers)


def test_a_category_that_is_one_group_is_divided_by_items() -> None:
    series = make_series(n_shoots=20)
    kept = np.flatnonzero((series.shoots == 0) | (series.shoots >= 20))  # of the first category one shoot
    folds = CatalogueFolds(keep(series, kept), None, 0)
    assert folds.divided == ("category 0",)
    own = folds.columns == 0
    assert len(set(folds.groups.numbers[own].tolist())) == 1
    assert sorted(np.bincount(folds.numbers[own], minlength=N_FOLDS).tolist()) == [1, 1, 2, 2, 2]


def test_what_all_heads_must_learn_is_in_no_fold() -> None:
    rows = unit_rows(np.random.default_rng(0).normal(size=(23, 64)))
    categories = ["a"] * 10 + ["b"] * 10 + ["c"] * 3
    folds = CatalogueFolds(_catalogue(rows, categories, [*range(20), 20, 20, 20]), None, 0)
    assert (folds.numbers[20:] == NO_FOLD).all()
    assert (folds.numbers[:20] != NO_FOLD).all()
    assert len(folds.stored().keys) == 20
    # What was in several folds, and of which only one fold is left.
    left = np.flatnonzero((folds.numbers == folds.numbers[0]) | (np.arange(23) >= 10))
    less = CatalogueFolds(
        _catalogue(rows[left], [categories[image] for image in left], left.tolist()), folds.stored(), 0
    )
    assert (less.numbers[: (left < 10).sum()] == NO_FOLD).all()


def test_a_single_category_is_not_held_out() -> None:
    series = make_series(n_categories=1)
    folds = CatalogueFolds(series.embedded, None, 0)
    assert (folds.numbers == NO_FOLD).all()
    assert len(folds.stored().keys) == 0


def test_small_catalogues_have_something_in_every_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = unit_rows(np.random.default_rng(0).normal(size=(12, 64)))
    folds = CatalogueFolds(_catalogue(rows, ["a", "b", "c"] * 4), None, 0)
    assert sorted(np.bincount(folds.numbers, minlength=N_FOLDS).tolist()) == [2, 2, 2, 3, 3]
    assert module.N_FOLDS == N_FOLDS


def test_neighbours_are_computed_when_needed_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    series: Series = make_series()
    calls = []
    find = "indexer.groups.catalogue_folds.nearest_images"
    from indexer.groups.nearest_images import nearest_images

    monkeypatch.setattr(find, lambda images: calls.append(len(images)) or nearest_images(images))
    folds = CatalogueFolds(series.embedded, None, 0)
    assert calls == []
    assert folds.numbers is folds.numbers
    assert folds.groups.near is folds.neighbours
    assert calls == [len(series.shoots)]
