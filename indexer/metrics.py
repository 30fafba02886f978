"""Figures over arrays of predictions and hits; pure functions."""

import numpy as np
from numpy.typing import NDArray

from shared.classifier import ranking


def category_accuracy_at(k: int, probabilities: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """The share of rows whose true category is among the `k` most probable.

    Args:
        k: 1 for plain accuracy.
        probabilities: `(n, n_categories)`.
        truth: `(n,)` columns; -1, a category that the classifier doesn't know, is never found.
    """
    return float((ranking(probabilities)[:, :k] == truth[:, np.newaxis]).any(axis=1).mean())


def expected_calibration_error(probabilities: NDArray[np.float32], truth: NDArray[np.int64], bins: int = 15) -> float:
    """How far confidence and accuracy lie apart: Guo et al., 2017, equal-width bins.

    Args:
        probabilities: `(n, n_categories)`.
        truth: `(n,)` columns; -1 is always a mistake.
        bins: over confidences 0…1.
    """
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    places = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    gaps = [
        (places == place).mean() * abs(confidence[places == place].mean() - right[places == place].mean())
        for place in np.unique(places)
    ]
    return float(np.sum(gaps))


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
