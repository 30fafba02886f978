"""Accuracy and calibration of class probabilities; pure functions over arrays."""

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from shared.model.classifier import Classifier, ranking

_Z_95 = NormalDist().inv_cdf(0.975)


@dataclass(frozen=True)
class ReliabilityBin:
    """The queries whose confidence is in one bin; for a calibrated classifier, the last two figures are equal.

    Attributes:
        above: lower bound of the bin, exclusive (inclusive for 0).
        up_to: upper bound, inclusive.
        queries: number of queries.
        confidence: their mean confidence.
        category_accuracy: the share of them that is right.
    """

    above: float
    up_to: float
    queries: int
    confidence: float
    category_accuracy: float


def category_accuracy_at(k: int, probabilities: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """Return the share of rows whose true category is among the `k` most probable.

    Args:
        k: 1 for plain accuracy.
        probabilities: `(n, n_categories)`.
        truth: `(n,)` columns; -1, a category that the classifier does not have, is never right.
    """
    return float((ranking(probabilities)[:, :k] == truth[:, np.newaxis]).any(axis=1).mean())


def reliability(
    probabilities: NDArray[np.float32], truth: NDArray[np.int64], bins: int = 15
) -> tuple[ReliabilityBin, ...]:
    """Return confidence and accuracy in bins of equal width, without empty ones.

    Args:
        probabilities: `(n, n_categories)`.
        truth: `(n,)` columns; -1 is always a mistake.
        bins: the number of bins over 0…1.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    numbers = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    result = []
    for number in np.unique(numbers).tolist():
        inside = numbers == number
        mean, accuracy = float(confidence[inside].mean()), float(right[inside].mean())
        result.append(ReliabilityBin(number / bins, (number + 1) / bins, int(inside.sum()), mean, accuracy))
    return tuple(result)


def expected_calibration_error(probabilities: NDArray[np.float32], truth: NDArray[np.int64], bins: int = 15) -> float:
    """Return the expected calibration error (Guo et al., 2017) of equal-width bins; arguments as of `reliability`."""
    diagram = reliability(probabilities, truth, bins)
    return sum(one.queries * abs(one.confidence - one.category_accuracy) for one in diagram) / len(truth)


def margin_of_mean(values: NDArray[np.float64], groups: NDArray[np.int64]) -> float | None:
    """Return the reach of the 95 % interval around the mean of values that are not independent within groups.

    Of the normal approximation with a cluster-robust variance (Liang and Zeger, 1986, "Longitudinal Data Analysis Using
    Generalized Linear Models"): ten photos of one shoot, right or wrong together, say no more than one.

    Args:
        values: `(n,)`.
        groups: `(n,)`, the same number for values of one group.

    Returns:
        The reach in the unit of the values; None if there are fewer than two groups.
    """
    _, numbers = np.unique(groups, return_inverse=True)
    n_groups = int(numbers.max(initial=-1)) + 1
    if n_groups < 2:
        return None
    sums = np.bincount(numbers, weights=values - values.mean(), minlength=n_groups)
    variance = float((sums**2).sum()) / len(values) ** 2 * n_groups / (n_groups - 1)
    return _Z_95 * math.sqrt(variance)


def probe_auto(
    classifier: Classifier, probabilities: NDArray[np.float32], truth: NDArray[np.int64], share: float
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Apply `probe: auto` to each query.

    Args:
        classifier: the classifier of the probabilities.
        probabilities: `(n, n_categories)`.
        truth: `(n,)` columns; -1 is never among those searched.
        share: the required share of queries whose true category is searched.

    Returns:
        `(n,)` bool, True if the category is searched, and `(n,)` int64, the number of categories searched.
    """
    counts = np.array([classifier.n_likely(row, share) for row in probabilities], dtype=np.int64)
    ranks = np.where(ranking(probabilities) == truth[:, np.newaxis], np.arange(probabilities.shape[1]), np.inf)
    return ranks.min(axis=1) < counts, counts
