"""Whether a query shows one of the catalogue's categories at all, or none of these.

A classifier has to name a category, whatever it is shown. Several signs tell that it is shown something else, and each
finds what others miss. They are standardised by held-out images and added up, each by its weight:

- the log odds of the predicted category against all others: low where a query lies between categories, as one of
  another category of the same kind does (the maximum softmax probability of Hendrycks and Gimpel, 2017, "A Baseline for
  Detecting Misclassified and Out-of-Distribution Examples", on a scale that does not saturate);
- the mean cosine of the nearest items of that category: low where a query looks like nothing in the catalogue (Sun et
  al., 2022, "Out-of-Distribution Detection with Deep Nearest Neighbors").

Where the base is as pretrained, three more:

- the largest logit (Hendrycks et al., 2022, "Scaling Out-of-Distribution Detection for Real-World Settings"), and
- its lead over the mean logit;
- less the clarity: how strongly the query shows anything that the base was pretrained on. A clear picture makes all
  logits larger, whether its category is known or not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import SnapshotError
from shared.index.category_search import Hit
from shared.model.energy_score import Clarity
from shared.vectors import Vectors

NEIGHBOURS = 5
"""The nearest items whose cosines are averaged."""

WEIGHTS = (1.0, 1.0)
"""Of the log odds and the cosine."""
WEIGHTS_WITH_CLARITY = (0.5, 1.0, 0.5, 0.5, -0.75)
"""Of the log odds, the cosine, the largest logit, its lead, the clarity."""
_ARRAYS = ("means", "stds", "thresholds", "weights")


@dataclass(frozen=True)
class KnownRule:
    """How well a query has to fit its predicted category to count as known.

    Attributes:
        means: `(n_signs,)` float64, of each sign over held-out images: two signs, five with a clarity.
        stds: `(n_signs,)` float64, of the same.
        thresholds: `(n_categories,)` float64, the lowest score that is known, in the order of the classifier's columns;
            two at least, for of a single category there are no odds.
        weights: `(n_signs,)` float64.
        clarity: of the base; None where it was tuned, or its classes are not at hand.
    """

    means: NDArray[np.float64]
    stds: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    weights: NDArray[np.float64] = field(default_factory=lambda: np.array(WEIGHTS))
    clarity: Clarity | None = None

    def __post_init__(self) -> None:
        """Check that the parts can be used.

        Raises:
            SnapshotError: other shapes, or numbers that can't be.
        """
        parts = (self.means, self.stds, self.thresholds, self.weights)
        wanted = len(WEIGHTS if self.clarity is None else WEIGHTS_WITH_CLARITY)
        fitting = self.thresholds.ndim == 1 < len(self.thresholds) and all(
            part.shape == (wanted,) for part in (self.means, self.stds, self.weights)
        )
        if not fitting or not all(np.isfinite(part).all() for part in parts) or not (self.stds > 0).all():
            found = ", ".join(f"{name} {part}" for name, part in zip(_ARRAYS, parts, strict=True))
            numbers = f"{wanted}, {wanted}, n and {wanted} numbers"
            raise SnapshotError(f"the rule for known queries has {found}; wanted {numbers}, stds above 0")

    def margins(
        self,
        queries: Vectors,
        logits: NDArray[np.float32],
        columns: NDArray[np.int64],
        cosines: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """How far the scores of queries lie above the thresholds of their categories.

        Args:
            queries: `(n, dim)`, unit rows.
            logits: `(n, n_categories)`, before the temperature.
            columns: `(n,)`, of the predicted categories.
            cosines: `(n,)`, each the `mean_cosine` of the query's nearest items of its predicted category.

        Returns:
            `(n,)` float64; a query is known where it is 0 or more.
        """
        found = signs(queries, logits, columns, cosines, self.clarity)
        margins: NDArray[np.float64] = (found - self.means) / self.stds @ self.weights - self.thresholds[columns]
        return margins

    def arrays(self) -> dict[str, NDArray[Any]]:
        """By name, for the classifier's file."""
        clarity = {} if self.clarity is None else self.clarity.arrays()
        return {f"known_{name}": getattr(self, name) for name in _ARRAYS} | clarity

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "KnownRule | None":
        """Of a classifier's file; None where it has none. Those of earlier versions have no weights and no clarity.

        Raises:
            SnapshotError: they can't be used.
            KeyError: some are missing.
        """
        names = [f"known_{name}" for name in _ARRAYS]
        found = {name: arrays[name].astype(np.float64) for name in names if name in arrays}
        clarity = Clarity.of_arrays(arrays)
        if not found and clarity is None:
            return None
        if clarity is None:
            found.setdefault("known_weights", np.array(WEIGHTS))
        means, stds, thresholds, weights = (found[name] for name in names)
        return cls(means, stds, thresholds, weights, clarity)


def signs(
    queries: Vectors,
    logits: NDArray[np.float32],
    columns: NDArray[np.int64],
    cosines: NDArray[np.float64],
    clarity: Clarity | None,
) -> NDArray[np.float64]:
    """What tells known queries from others: arguments as those of `KnownRule.margins`.

    Returns:
        `(n, n_signs)` float64, in the order of `WEIGHTS`, or of `WEIGHTS_WITH_CLARITY` where there is one.
    """
    found = [log_odds(logits, columns), cosines]
    if clarity is not None:
        own = logits[np.arange(len(columns)), columns].astype(np.float64)
        found += [own, own - logits.mean(axis=1), clarity.of(queries)]
    return np.stack(found, axis=1)


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
