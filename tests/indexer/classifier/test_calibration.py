from dataclasses import replace

import numpy as np
import pytest

from indexer.classifier.calibration import calibrated, fit_temperature
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.snapshots.classifier_heads import Heads
from shared.catalogue.items import Item
from shared.model.classifier import Classifier, softmax
from shared.vectors import unit_rows
from tests.support.builders.held_out import hold_out


def _loss(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    return float(-np.log(softmax(logits / temperature)[np.arange(len(labels)), labels]).mean())


@pytest.mark.parametrize("sharpness", [0.7, 1.0, 3.0])
def test_the_temperature_is_the_best_there_is(sharpness: float) -> None:
    """Labels are drawn from the very probabilities, so that the best temperature is about the sharpness."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(4000, 5)) * 2
    labels = np.array([random.choice(5, p=row) for row in softmax(logits)])
    sharpened = (logits * sharpness).astype(np.float32)
    found = fit_temperature(sharpened, labels)
    grid = np.exp(np.linspace(np.log(0.2), np.log(5), 400))
    best = grid[np.argmin([_loss(sharpened, labels, temperature) for temperature in grid])]
    assert found == pytest.approx(best, rel=0.01)
    assert found == pytest.approx(sharpness, rel=0.1)


@pytest.mark.parametrize(("label", "least", "most"), [(0, 0.2, 0.25), (1, 19.5, 20.0)])
def test_the_temperature_has_bounds(label: int, least: float, most: float) -> None:
    """Where all are right, or all wrong, the best temperature would be 0, or infinite."""
    assert least <= fit_temperature(np.array([[3.0, 0.0]] * 4, np.float32), np.full(4, label)) <= most


def _catalogue(n: int) -> EmbeddedCatalogue:
    """Two categories along two axes, of which every tenth image lies along the other's."""
    labels = np.arange(n) % 2
    axes = np.where(np.arange(n) % 10 == 0, 1 - labels, labels)
    items = tuple(Item(f"item {number}", "ab"[label], ("x.jpg",)) for number, label in enumerate(labels))
    noise = np.random.default_rng(0).normal(0, 0.01, size=(n, 30)).astype(np.float32)
    views = unit_rows(np.concatenate([np.eye(2, dtype=np.float32)[axes], noise], axis=1))[:, np.newaxis]
    return EmbeddedCatalogue(items, np.arange(n), (b"",) * n, views, (), n)


def test_heads_that_are_too_sure_are_calibrated_on_held_out_images() -> None:
    held_out = hold_out(_catalogue(400))
    sure = Classifier(("a", "b"), np.eye(32, 2, dtype=np.float32) * 5, np.zeros(2, np.float32), 0.5)
    heads = Heads(sure, tuple(replace(sure, bias=sure.bias + fold) for fold in range(5)))
    found = calibrated(heads, held_out)
    assert held_out.log_loss(found) < held_out.log_loss(heads)
    accuracy = held_out.category_accuracy(heads)
    assert accuracy is not None
    probabilities = held_out.probabilities(found)
    assert probabilities.max(axis=1).mean() == pytest.approx(accuracy, abs=0.01)
    own = np.sort(probabilities[np.arange(400), held_out.columns("ab")])
    for head, before in zip((found.served, *found.of_folds), (heads.served, *heads.of_folds), strict=True):
        assert head.weights is before.weights
        assert head.bias is before.bias
        assert head.temperature == found.served.temperature
        np.testing.assert_array_equal(head.own_probabilities, own)
        assert head.n_groups == held_out.n_groups


def test_a_single_head_stays_one() -> None:
    sure = Classifier(("a", "b"), np.eye(32, 2, dtype=np.float32) * 5, np.zeros(2, np.float32), 0.5)
    held_out = hold_out(_catalogue(400), is_tuned=True)
    found = calibrated(Heads.single(sure), held_out)
    assert found.is_single
    assert len(found.served.own_probabilities) == held_out.n_images == 80


def test_without_held_out_images_the_temperature_is_1() -> None:
    none = hold_out(_catalogue(2))
    sure = Classifier(("a", "b"), np.eye(32, 2, dtype=np.float32), np.zeros(2, np.float32), 3.0)
    found = calibrated(Heads.single(sure), none).served
    assert (found.temperature, found.own_probabilities.shape, found.n_groups) == (1.0, (0,), 0)
