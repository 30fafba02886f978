"""Accuracy and calibration of class probabilities; pure functions over arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.model.classifier import Classifier, ranking


@dataclass(frozen=True)
class ReliabilityBin:
    """The queries whose confidence lies within one bin: of a calibrated classifier, the last two figures agree.

    Attributes:
        above: the bin's lower border, exclusive (inclusive for 0).
        up_to: its upper border.
        queries: how many.
        confidence: their mean.
        category_accuracy: share of them that is right.
    """

    above: float
    up_to: float
    queries: int
    confidence: float
    category_accuracy: float


def category_accuracy_at(k: int, probabilities: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """The share of rows whose true category is among the `k` most probable.

    Args:
        k: 1 for plain accuracy.
        probabilities: `(n, n_categories)`.
        truth: `(n,)` columns; -1, a category that the classifier doesn't know, is never found.
    """
    return float((ranking(probabilities)[:, :k] == truth[:, np.newaxis]).any(axis=1).mean())


def reliability(
    probabilities: NDArray[np.float32], truth: NDArray[np.int64], bins: int = 15
) -> tuple[ReliabilityBin, ...]:
    """Confidence against accuracy, in the bins of equal width that have queries.

    Args:
        probabilities: `(n, n_categories)`.
        truth: `(n,)` columns; -1 is always a mistake.
        bins: over confidences 0…1.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    places = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    found = []
    for place in np.unique(places).tolist():
        inside = places == place
        mean, accuracy = float(confidence[inside].mean()), float(right[inside].mean())
        found.append(ReliabilityBin(place / bins, (place + 1) / bins, int(inside.sum()), mean, accuracy))
    return tuple(found)


def expected_calibration_error(probabilities: NDArray[np.float32], truth: NDArray[np.int64], bins: int = 15) -> float:
    """How far confidence and accuracy lie apart: Guo et al., 2017, equal-width bins; arguments as of `reliability`."""
    found = reliability(probabilities, truth, bins)
    return sum(one.queries * abs(one.confidence - one.category_accuracy) for one in found) / len(truth)


def probe_auto(
    classifier: Classifier, probabilities: NDArray[np.float32], truth: NDArray[np.int64], share: float
) -> tuple[float, float]:
    """What `probe: auto` would search.

    Args:
        classifier: that gave the probabilities.
        probabilities: `(n, n_categories)`.
        truth: `(n,)` columns; -1 is never among those searched.
        share: of the queries for which the right category should be searched.

    Returns:
        The share of queries whose category is searched, and the mean number of categories searched.
    """
    counts = np.array([classifier.n_likely(row, share) for row in probabilities])
    places = np.where(ranking(probabilities) == truth[:, np.newaxis], np.arange(probabilities.shape[1]), np.inf)
    return float((places.min(axis=1) < counts).mean()), float(counts.mean())
