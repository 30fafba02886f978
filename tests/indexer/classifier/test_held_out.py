"""Which images are evaluated by which head, and what is measured on them."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from indexer.classifier import held_out as module
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.groups.folds import N_FOLDS
from indexer.snapshots.classifier_heads import Heads
from shared.catalogue.items import Item
from shared.model.classifier import Classifier
from shared.vectors import unit_rows
from tests.support.builders.held_out import hold_out
from tests.support.builders.series import make_series

_DIM = 32


def _embedded(labels: list[str], images: int = 1) -> EmbeddedCatalogue:
    """Items whose embeddings say their category by their largest component, and nothing else."""
    items = tuple(Item(f"{n}", label, ("x.jpg",) * images) for n, label in enumerate(labels))
    noise = np.random.default_rng(0).normal(size=(len(labels) * images, _DIM)) / 20
    rows = unit_rows(np.eye(_DIM)[[ord(label) - ord("a") for label in np.repeat(labels, images)]] + noise)
    image_items = np.repeat(np.arange(len(items)), images)
    return EmbeddedCatalogue(items, image_items, (b"",) * len(rows), rows[:, np.newaxis], (), len(rows))


def _head(categories: str, weights: NDArray[np.float64] | None = None) -> Classifier:
    """By the largest component."""
    columns = np.eye(_DIM)[:, [ord(category) - ord("a") for category in categories]] if weights is None else weights
    return Classifier(tuple(categories), (20 * columns).astype(np.float32), np.zeros(len(categories), np.float32))


def _alike(head: Classifier) -> Heads:
    """The same head for every fold."""
    return Heads(head, (head,) * N_FOLDS)


def test_every_image_is_evaluated_once_by_the_head_of_its_fold() -> None:
    embedded = _embedded(["a", "b"] * 20, images=3)
    held_out = hold_out(embedded)
    assert (held_out.n_items, held_out.n_images, held_out.n_folds) == (40, 120, 5)
    np.testing.assert_array_equal(held_out.images, np.arange(120))
    assert np.bincount(held_out.fold_of, minlength=N_FOLDS).min() >= 21
    assert (held_out.fold_of[::3] == held_out.fold_of[2::3]).all()  # images of an item
    np.testing.assert_array_equal(held_out.originals, embedded.originals)
    wanted = [0 if embedded.items[n].category == "b" else 1 for n in embedded.image_items]
    assert held_out.columns(["b", "a"]).tolist() == wanted
    heads = Heads(_head("ab"), tuple(replace(_head("ab"), bias=np.full(2, fold, np.float32)) for fold in range(5)))
    logits = held_out.logits(heads.linear())
    np.testing.assert_allclose(
        logits - _head("ab").logits(embedded.originals), held_out.fold_of[:, np.newaxis] + [0, 0], atol=1e-5
    )


def test_the_items_of_a_group_are_known() -> None:
    series = make_series()
    held_out = hold_out(series.embedded)
    for own, group, item in zip(held_out.items_beside(), held_out.group_of, held_out.embedded.image_items, strict=True):
        assert item in own
        assert own == set(np.flatnonzero(held_out.folds.groups.numbers == group).tolist())
    assert held_out.n_groups == held_out.folds.groups.n_groups < held_out.n_items / 5


@pytest.mark.parametrize("limit", ["_MAX_IMAGES_OF_ALL_FOLDS", "_MAX_CATEGORIES_OF_ALL_FOLDS"])
def test_of_a_large_catalogue_one_fold_is_evaluated(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded = _embedded(["a", "b"] * 100)
    assert hold_out(embedded).n_images == 200
    assert hold_out(embedded, is_tuned=True).n_images == 40
    monkeypatch.setattr(module, limit, 1)
    held_out = hold_out(embedded)
    assert (held_out.n_folds, held_out.n_images, set(held_out.fold_of)) == (1, 40, {0})
    monkeypatch.setattr(module, "_MAX_IMAGES", 10)
    some = hold_out(embedded)
    assert some.n_images == 10
    assert (np.diff(some.images) > 0).all()
    assert np.isin(some.images, held_out.images).all()
    np.testing.assert_array_equal(some.images, hold_out(embedded).images)
    assert some.for_heads(Heads.single(_head("ab"))) is some


def test_where_there_are_fewer_heads_only_their_images_are_evaluated() -> None:
    held_out = hold_out(_embedded(["a", "b", "c"] * 40))
    first = held_out.for_heads(Heads.single(_head("abc")))
    assert (first.n_folds, set(first.fold_of), first.n_images) == (1, {0}, (held_out.fold_of == 0).sum())
    assert held_out.for_heads(_alike(_head("abc"))) is held_out
    some = held_out.of_categories(["a"]).for_heads(Heads.single(_head("abc")))
    assert (set(some.fold_of), set(some.columns("abc"))) == ({0}, {0})


def test_accuracy_and_calibration_are_those_of_the_heads_of_the_folds() -> None:
    held_out = hold_out(_embedded(["a", "b", "c"] * 40))
    assert held_out.category_accuracy(_alike(_head("abc"))) == 1.0
    assert held_out.accuracy_margin(_alike(_head("abc"))) == 0.0
    swapped = np.eye(_DIM)[:, [1, 0, 2]]
    assert held_out.category_accuracy(_alike(_head("abc", swapped))) == pytest.approx(1 / 3)
    assert held_out.calibration_error(_alike(_head("abc"))) < 0.01
    assert held_out.calibration_error(_alike(_head("abc", swapped))) > 0.6
    one = Heads(_head("abc"), (_head("abc", swapped), *[_head("abc")] * 4))
    assert held_out.category_accuracy(one) == pytest.approx(1 - 2 / 3 * 0.2, abs=0.01)


def test_a_category_that_a_classifier_does_not_know_is_a_mistake() -> None:
    held_out = hold_out(_embedded(["a", "b", "c"] * 40))
    assert held_out.category_accuracy(_alike(_head("ab"))) == pytest.approx(2 / 3)


def test_of_categories_evaluates_their_images_alone() -> None:
    held_out = hold_out(_embedded(["a", "b", "c"] * 40))
    some = held_out.of_categories(["b", "a", "z"])
    assert some.n_images == 80
    assert set(some.columns(["a", "b", "c"])) == {0, 1}
    assert some.category_accuracy(_alike(_head("ab"))) == 1.0
    assert held_out.of_categories(["c", "b", "a"]) is held_out


def test_where_nothing_is_held_out_nothing_is_measured() -> None:
    for labels in (["a", "b"], ["a", "a", "a"]):  # one image each; one category
        held_out = hold_out(_embedded(labels))
        assert (held_out.n_items, held_out.n_images, held_out.n_groups) == (0, 0, 0)
        heads = _alike(_head("ab"))
        figures = held_out.category_accuracy(heads), held_out.calibration_error(heads), held_out.accuracy_margin(heads)
        assert figures == (None, None, None)
