"""Which items are held out, that this hardly changes with the catalogue, and what is measured on them."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from indexer.classifier import held_out as module
from indexer.classifier.held_out import SHARE, HeldOut, held_out_items
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from shared.catalogue.items import Item
from shared.model.classifier import Classifier
from shared.vectors import unit_rows

_CATEGORIES = tuple("abcdefghij")


def _items(count: int, first: int = 0) -> list[Item]:
    """Items of ten categories in turn."""
    return [Item(f"sku-{n:05}", _CATEGORIES[n % 10], ("x.jpg",)) for n in range(first, first + count)]


def _held(items: list[Item], seed: int = 0) -> set[str]:
    """The ids of the items that are held out."""
    held = held_out_items(items, seed)
    assert (held.dtype, held.shape) == (np.bool_, (len(items),))
    return {item.item_id for item, is_held in zip(items, held, strict=True) if is_held}


@pytest.mark.parametrize(("size", "wanted"), [(1, 0), (2, 0), (3, 0), (4, 1), (10, 2), (20, 3), (100, 15)])
def test_each_category_holds_out_its_share_and_never_all(size: int, wanted: int) -> None:
    items = [Item(f"{n}", "small" if n < size else "other", ("x.jpg",)) for n in range(size + 50)]
    held = held_out_items(items, seed=1)
    assert (held[:size].sum(), held[size:].sum()) == (wanted, 8)
    if wanted > 1:
        assert not np.array_equal(held[:size], held_out_items(items, seed=2)[:size])


@pytest.mark.parametrize("size", range(1, 60))
def test_never_all_of_a_category(size: int) -> None:
    for seed in range(5):
        held = held_out_items([Item(f"{n}", "c", ("x.jpg",)) for n in range(size)], seed)
        assert held.sum() == round(SHARE * size) < size


def test_order_changes_nothing() -> None:
    items = _items(500)
    assert _held(items) == _held(items[::-1]) == _held(sorted(items, key=lambda item: item.category))


def test_another_seed_holds_out_others() -> None:
    items = _items(2000)
    both = _held(items, 0) & _held(items, 1)
    assert len(both) == pytest.approx(SHARE**2 * 2000, abs=25)  # no more than chance has in common


@pytest.mark.parametrize("removed", [1, 20, 100, 1000])
def test_of_those_that_stay_hardly_any_changes_when_others_go(removed: int) -> None:
    items = _items(2000)
    gone = set(np.random.default_rng(3).permutation(2000)[:removed].tolist())
    left = [item for number, item in enumerate(items) if number not in gone]
    ids = {item.item_id for item in left}
    before, after = _held(items) & ids, _held(left)
    # A category of k items holds out its round(0.15 k) first ones: that number is off by chance alone.
    assert len(before ^ after) <= {1: 1, 20: 9, 100: 20, 1000: 40}[removed]
    assert len(before & after) >= {1: 298, 20: 288, 100: 270, 1000: 120}[removed]


@pytest.mark.parametrize("added", [1, 20, 100, 2000])
def test_those_that_were_there_hardly_change_when_others_come(added: int) -> None:
    items = _items(2000)
    before, after = _held(items), _held(items + _items(added, first=2000))
    old = {item.item_id for item in items}
    assert len(before ^ (after & old)) <= {1: 1, 20: 9, 100: 20, 2000: 60}[added]


def test_a_change_in_one_category_leaves_the_others_alone() -> None:
    items = _items(1000)
    changed = [item for number, item in enumerate(items) if item.category != "a" or number % 20]
    held = {"before": _held(items), "after": _held(changed)}
    others = {item.item_id for item in items if item.category != "a"}
    assert held["before"] & others == held["after"] & others


def test_a_moved_item_changes_at_most_two_of_the_others() -> None:
    items = _items(1000)
    before = _held(items)
    for number in range(0, 100, 7):
        moved = [replace(item, category="b") if place == number else item for place, item in enumerate(items)]
        others = {item.item_id for item in items} - {items[number].item_id}
        assert len((before ^ _held(moved)) & others) <= 2


# What is measured

_DIM = 4


def _embedded(labels: list[str], images: int = 1) -> EmbeddedCatalogue:
    """Items whose embeddings say their category by their largest component, and nothing else."""
    items = tuple(Item(f"{n}", label, ("x.jpg",) * images) for n, label in enumerate(labels))
    noise = np.random.default_rng(0).random((len(labels) * images, _DIM)) / 10
    rows = unit_rows(np.eye(_DIM)[[ord(label) - ord("a") for label in np.repeat(labels, images)]] + noise)
    image_items = np.repeat(np.arange(len(items)), images)
    return EmbeddedCatalogue(items, image_items, (b"",) * len(rows), rows[:, np.newaxis], (), len(rows))


def _head(categories: str, weights: NDArray[np.float64] | None = None) -> Classifier:
    """By the largest component."""
    columns = np.eye(_DIM)[:, [ord(category) - ord("a") for category in categories]] if weights is None else weights
    return Classifier(tuple(categories), (20 * columns).astype(np.float32), np.zeros(len(categories), np.float32))


def test_the_images_of_held_out_items_are_judged() -> None:
    embedded = _embedded(["a", "b"] * 20, images=3)
    held_out = HeldOut.of(embedded, 0)
    assert (held_out.n_items, held_out.n_images) == (6, 18)
    assert set(embedded.image_items[held_out.images]) == set(np.flatnonzero(held_out.items))
    np.testing.assert_array_equal(held_out.originals, embedded.originals[held_out.images])
    wanted = [0 if embedded.items[n].category == "b" else 1 for n in embedded.image_items[held_out.images]]
    assert held_out.columns(["b", "a"]).tolist() == wanted


def test_of_very_many_images_a_part_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_IMAGES", 10)
    embedded = _embedded(["a", "b"] * 100)
    held_out = HeldOut.of(embedded, 0)
    assert (held_out.n_items, held_out.n_images) == (30, 10)
    assert (np.diff(held_out.images) > 0).all()
    assert held_out.items[embedded.image_items[held_out.images]].all()
    np.testing.assert_array_equal(held_out.images, HeldOut.of(embedded, 0).images)
    assert len(set(embedded.image_items[held_out.images] % 2)) == 2


def test_accuracy_and_calibration_are_those_of_the_held_out_items_alone() -> None:
    embedded = _embedded(["a", "b", "c"] * 40)
    held_out = HeldOut.of(embedded, 0)
    assert held_out.category_accuracy(_head("abc")) == 1.0
    swapped = np.eye(_DIM)[:, [1, 0, 2]]
    assert held_out.category_accuracy(_head("abc", swapped)) == pytest.approx(1 / 3)
    assert held_out.calibration_error(_head("abc")) < 0.01
    assert held_out.calibration_error(_head("abc", swapped)) > 0.6


def test_a_category_that_a_classifier_does_not_know_is_a_mistake() -> None:
    held_out = HeldOut.of(_embedded(["a", "b", "c"] * 40), 0)
    assert held_out.category_accuracy(_head("ab")) == pytest.approx(2 / 3)


def test_of_categories_judges_their_images_alone() -> None:
    held_out = HeldOut.of(_embedded(["a", "b", "c"] * 40), 0)
    some = held_out.of_categories(["b", "a", "z"])
    assert some.n_images == 12
    assert set(some.columns(["a", "b", "c"])) == {0, 1}
    assert some.category_accuracy(_head("ab")) == 1.0
    assert held_out.of_categories(["c", "b", "a"]) is held_out


def test_where_nothing_is_held_out_nothing_is_measured() -> None:
    held_out = HeldOut.of(_embedded(["a", "b", "a"]), 0)
    assert (held_out.n_items, held_out.n_images) == (0, 0)
    assert (held_out.category_accuracy(_head("ab")), held_out.calibration_error(_head("ab"))) == (None, None)
