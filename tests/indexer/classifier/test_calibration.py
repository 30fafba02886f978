import numpy as np
import pytest

from indexer.classifier.calibration import calibrated, fit_temperature
from indexer.classifier.held_out import HeldOut
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from shared.catalogue.items import Item
from shared.model.classifier import Classifier, softmax


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


@pytest.mark.parametrize(("label", "least", "most"), [(0, 0.2, 0.25), (1, 4.9, 5.0)])
def test_the_temperature_has_bounds(label: int, least: float, most: float) -> None:
    """Where all are right, or all wrong, the best temperature would be 0, or infinite."""
    assert least <= fit_temperature(np.array([[3.0, 0.0]] * 4, np.float32), np.full(4, label)) <= most


def _catalogue(n: int) -> EmbeddedCatalogue:
    """Two categories along two axes, of which every tenth image lies along the other's."""
    labels = np.arange(n) % 2
    axes = np.where(np.arange(n) % 10 == 0, 1 - labels, labels)
    items = tuple(Item(f"item {number}", "ab"[label], ("x.jpg",)) for number, label in enumerate(labels))
    views = np.eye(2, dtype=np.float32)[axes][:, np.newaxis]
    return EmbeddedCatalogue(items, np.arange(n), (b"",) * n, views, (), n)


def test_a_head_that_is_too_sure_is_calibrated_on_held_out_items() -> None:
    held_out = HeldOut.of(_catalogue(400), 0)
    sure = Classifier(("a", "b"), np.eye(2, dtype=np.float32) * 5, np.zeros(2, np.float32), 0.5)
    found = calibrated(sure, held_out)
    assert held_out.log_loss(found) < held_out.log_loss(sure)
    accuracy = held_out.category_accuracy(sure)
    assert accuracy is not None
    assert found.probabilities(held_out.originals).max(axis=1).mean() == pytest.approx(accuracy, abs=0.01)
    assert found.weights is sure.weights
    np.testing.assert_array_equal(found.own_probabilities, np.sort(held_out.own_probabilities(found)))
    assert len(found.own_probabilities) == held_out.n_images


def test_without_held_out_items_the_temperature_is_1() -> None:
    embedded = _catalogue(400)
    none = HeldOut(embedded, np.zeros(400, np.bool_), np.zeros(0, np.int64))
    sure = Classifier(("a", "b"), np.eye(2, dtype=np.float32), np.zeros(2, np.float32), 3.0)
    found = calibrated(sure, none)
    assert (found.temperature, found.own_probabilities.shape) == (1.0, (0,))
