"""Whether a query shows one of the catalogue's categories at all, or none of these.

A classifier has to name a category, whatever it is shown. Two signs tell that it is shown something else, and each
finds what the other misses. Both are standardised by held-out images and added up:

- the log odds of the predicted category against all others: low where a query lies between categories, as one of
  another category of the same kind does (the maximum softmax probability of Hendrycks and Gimpel, 2017, "A Baseline for
  Detecting Misclassified and Out-of-Distribution Examples", on a scale that does not saturate);
- the mean cosine of the nearest items of that category: low where a query looks like nothing in the catalogue (Sun et
  al., 2022, "Out-of-Distribution Detection with Deep Nearest Neighbors").
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import SnapshotError
from shared.partition import Hit

NEIGHBOURS = 5
"""The nearest items whose cosines are averaged."""

_ARRAYS = ("means", "stds", "thresholds")


@dataclass(frozen=True)
class KnownRule:
    """How well a query has to fit its predicted category to count as known.

    Attributes:
        means: `(2,)` float64, of the log odds and of the cosine, over held-out images.
        stds: `(2,)` float64, of the same.
        thresholds: `(n_categories,)` float64, the lowest score that is known, in the order of the classifier's columns;
            two at least, for of a single category there are no odds.
    """

    means: NDArray[np.float64]
    stds: NDArray[np.float64]
    thresholds: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Check that the parts can be used.

        Raises:
            SnapshotError: other shapes, or numbers that can't be.
        """
        parts = (self.means, self.stds, self.thresholds)
        fitting = self.means.shape == self.stds.shape == (2,) and self.thresholds.ndim == 1 < len(self.thresholds)
        if not fitting or not all(np.isfinite(part).all() for part in parts) or not (self.stds > 0).all():
            found = ", ".join(f"{name} {part}" for name, part in zip(_ARRAYS, parts, strict=True))
            raise SnapshotError(f"the rule for known queries has {found}; wanted 2, 2 and n numbers, stds above 0")

    def margins(
        self, logits: NDArray[np.float32], columns: NDArray[np.int64], cosines: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """How far the scores of queries lie above the thresholds of their categories.

        Args:
            logits: `(n, n_categories)`, before the temperature.
            columns: `(n,)`, of the predicted categories.
            cosines: `(n,)`, each the `mean_cosine` of the query's nearest items of its predicted category.

        Returns:
            `(n,)` float64; a query is known where it is 0 or more.
        """
        signs = np.stack([log_odds(logits, columns), cosines], axis=1)
        margins: NDArray[np.float64] = ((signs - self.means) / self.stds).sum(axis=1) - self.thresholds[columns]
        return margins

    def arrays(self) -> dict[str, NDArray[np.float64]]:
        """By name, for the classifier's file."""
        return {f"known_{name}": getattr(self, name) for name in _ARRAYS}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "KnownRule | None":
        """Of a classifier's file; None where it has none.

        Raises:
            SnapshotError: they can't be used.
            KeyError: some are missing.
        """
        names = [f"known_{name}" for name in _ARRAYS]
        if not any(name in arrays for name in names):
            return None
        return cls(*(arrays[name].astype(np.float64) for name in names))


def log_odds(logits: NDArray[np.float32], columns: NDArray[np.int64]) -> NDArray[np.float64]:
    """The logarithm of a category's probability over that of all others together.

    Args:
        logits: `(n, n_categories)`, two categories at least.
        columns: `(n,)`, of the categories.

    Returns:
        `(n,)` float64.
    """
    rows = np.arange(len(columns))
    others = logits.astype(np.float64)
    own = others[rows, columns]
    others[rows, columns] = -np.inf
    highest = others.max(axis=1)
    odds: NDArray[np.float64] = own - highest - np.log(np.exp(others - highest[:, np.newaxis]).sum(axis=1))
    return odds


def mean_cosine(nearest: Sequence[Hit]) -> float:
    """The mean score of the first `NEIGHBOURS` hits, or of as many as there are; there has to be one."""
    scores = [hit.score for hit in nearest[:NEIGHBOURS]]
    return sum(scores) / len(scores)
