"""Figures over arrays of predictions and hits; pure functions."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from shared.model.classifier import Classifier, ranking


@dataclass(frozen=True)
class KnownFigures:
    """How well queries of the snapshot's categories are told from others; None where there are none of the kind.

    Attributes:
        known_share: of the queries whose category the snapshot has, the share that is said to be known.
        unknown_detected: of the others, the share that is said to be unknown.
        known_auroc: the probability that one of the former lies further above its threshold than one of the latter.
    """

    known_share: float | None = None
    unknown_detected: float | None = None
    known_auroc: float | None = None


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


def interval(share: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a share that was counted over `n` queries (Wilson, 1927)."""
    # By hand: `scipy.stats` takes longer to import than all the rest that a command needs.
    z2 = NormalDist().inv_cdf(0.975) ** 2
    counted = round(share * n) / n
    middle = counted + z2 / (2 * n)
    reach = math.sqrt(z2 * (counted * (1 - counted) + z2 / (4 * n)) / n)
    # At 0 and 1 the two are equal but for rounding.
    low = 0.0 if counted == 0 else (middle - reach) / (1 + z2 / n)
    high = 1.0 if counted == 1 else (middle + reach) / (1 + z2 / n)
    return low, high


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
    counts = np.array([classifier.needed(row, share) for row in probabilities])
    places = np.where(ranking(probabilities) == truth[:, np.newaxis], np.arange(probabilities.shape[1]), np.inf)
    return float((places.min(axis=1) < counts).mean()), float(counts.mean())


def precision(found: list[list[str]], truth: list[str]) -> float:
    """The mean share of each query's hits that have its true category; a query without hits counts 0.

    Args:
        found: the hits' categories, best first, for each query.
        truth: each query's category.
    """
    shares = [
        sum(category == wanted for category in categories) / max(1, len(categories))
        for categories, wanted in zip(found, truth, strict=True)
    ]
    return float(np.mean(shares))


def known_figures(margins: NDArray[np.float64], truth: NDArray[np.int64]) -> KnownFigures:
    """How well known queries are told from others.

    Args:
        margins: `(n,)`, how far each query's score lies above its threshold; known are those of 0 or more.
        truth: `(n,)` columns; -1 is a category that the snapshot does not have.
    """
    has, said = truth >= 0, margins >= 0
    return KnownFigures(
        known_share=float(said[has].mean()) if has.any() else None,
        unknown_detected=float(1 - said[~has].mean()) if not has.all() else None,
        known_auroc=auroc(margins[has], margins[~has]) if has.any() and not has.all() else None,
    )


def auroc(higher: NDArray[np.float64], lower: NDArray[np.float64]) -> float:
    """The area under the ROC curve: the share of pairs in which the one of `higher` is higher, ties counting half.

    Mann and Whitney's U over all pairs; of `(n,)` and `(m,)` scores.
    """
    ordered = np.sort(lower)
    below, up_to = np.searchsorted(ordered, higher, "left"), np.searchsorted(ordered, higher, "right")
    return float((below + up_to).mean()) / (2 * len(lower))
