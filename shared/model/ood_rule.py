"""Out-of-distribution (OOD) detection: decide whether a query shows any of the catalogue's categories.

A classifier names a category for every image. Several signals indicate that the image shows none of them, and each
finds some that others miss. They are standardised over held-out images and added up with weights:

- the log odds of the predicted category against all others: low for a query between categories, such as another
  category of the same kind (the maximum softmax probability of Hendrycks and Gimpel, 2017, "A Baseline for Detecting
  Misclassified and Out-of-Distribution Examples", on a scale that does not saturate);
- the mean cosine of the nearest items of that category: low for a query that resembles nothing in the catalogue (Sun et
  al., 2022, "Out-of-Distribution Detection with Deep Nearest Neighbors").

If the backbone is as pretrained, there are three more:

- the largest logit (Hendrycks et al., 2022, "Scaling Out-of-Distribution Detection for Real-World Settings"), and
- its lead over the mean logit;
- the energy score, with a negative weight: a clear picture has larger logits whether its category is known or not.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import SnapshotError
from shared.index.category_search import Hit
from shared.model.energy_score import EnergyScore
from shared.vectors import Vectors

NEIGHBOURS = 5
"""Number of nearest items whose cosines are averaged."""

WEIGHTS = (1.0, 1.0)
"""The weights of log odds and cosine."""
WEIGHTS_WITH_ENERGY = (0.5, 1.0, 0.5, 0.5, -0.75)
"""The weights of log odds, cosine, largest logit, its lead, and energy score."""
_PREFIX = "known_"
_ARRAYS = ("means", "stds", "thresholds", "weights")


@dataclass(frozen=True)
class OodRule:
    """A threshold per category on the weighted sum of the signals.

    Attributes:
        means: `(n_signals,)` float64, over held-out images; there are two signals, or five with an energy score.
        stds: `(n_signals,)` float64, over held-out images.
        thresholds: `(n_categories,)` float64, the lowest sum of a known query, in the order of the classifier's
            columns; at least two, since a single category has no odds.
        weights: `(n_signals,)` float64.
        energy_score: of the backbone; None if it was fine-tuned, or its classes are not available.
    """

    means: NDArray[np.float64]
    stds: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    weights: NDArray[np.float64] = field(default_factory=lambda: np.array(WEIGHTS))
    energy_score: EnergyScore | None = None

    def __post_init__(self) -> None:
        """Check shapes and values.

        Raises:
            SnapshotError: the shapes don't fit, a value is not finite, or a standard deviation is not above 0.
        """
        parts = (self.means, self.stds, self.thresholds, self.weights)
        n_signals = len(WEIGHTS if self.energy_score is None else WEIGHTS_WITH_ENERGY)
        fits = self.thresholds.ndim == 1 < len(self.thresholds) and all(
            part.shape == (n_signals,) for part in (self.means, self.stds, self.weights)
        )
        if not fits or not all(np.isfinite(part).all() for part in parts) or not (self.stds > 0).all():
            values = ", ".join(f"{name} {part}" for name, part in zip(_ARRAYS, parts, strict=True))
            raise SnapshotError(
                f"the OOD rule has {values}; expected {n_signals} means, stds (above 0) and weights,"
                " and 2 or more thresholds, all finite"
            )

    def margins(
        self,
        queries: Vectors,
        logits: NDArray[np.float32],
        columns: NDArray[np.int64],
        cosines: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """The sums of the queries' signals, less the thresholds of their predicted categories.

        Args:
            queries: `(n, dim)`, unit rows: base embeddings.
            logits: `(n, n_categories)`, before the temperature.
            columns: `(n,)`, of the predicted categories.
            cosines: `(n,)`, the `mean_cosine` of each query's nearest items in its predicted category.

        Returns:
            `(n,)` float64; a query is known, that is, not OOD, if it is 0 or more.
        """
        standardised = (signals(queries, logits, columns, cosines, self.energy_score) - self.means) / self.stds
        margins: NDArray[np.float64] = standardised @ self.weights - self.thresholds[columns]
        return margins

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by their names in the classifier's file."""
        energy_score = {} if self.energy_score is None else self.energy_score.to_arrays()
        return {f"{_PREFIX}{name}": getattr(self, name) for name in _ARRAYS} | energy_score

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "OodRule | None":
        """Read the arrays of a classifier's file; None if it has none. Earlier versions wrote no weights.

        Raises:
            SnapshotError: shapes or values are invalid.
            KeyError: an array is missing.
        """
        names = [f"{_PREFIX}{name}" for name in _ARRAYS]
        parts = {name: arrays[name].astype(np.float64) for name in names if name in arrays}
        energy_score = EnergyScore.from_arrays(arrays)
        if not parts and energy_score is None:
            return None
        if energy_score is None:
            parts.setdefault(f"{_PREFIX}weights", np.array(WEIGHTS))
        means, stds, thresholds, weights = (parts[name] for name in names)
        return cls(means, stds, thresholds, weights, energy_score)


def signals(
    queries: Vectors,
    logits: NDArray[np.float32],
    columns: NDArray[np.int64],
    cosines: NDArray[np.float64],
    energy_score: EnergyScore | None,
) -> NDArray[np.float64]:
    """The signals of OOD detection; arguments as those of `OodRule.margins`.

    Returns:
        `(n, n_signals)` float64, in the order of `WEIGHTS`, or of `WEIGHTS_WITH_ENERGY` if there is an energy score.
    """
    values = [log_odds(logits, columns), cosines]
    if energy_score is not None:
        predicted = logits[np.arange(len(columns)), columns].astype(np.float64)
        values += [predicted, predicted - logits.mean(axis=1), energy_score.scores(queries)]
    return np.stack(values, axis=1)


def log_odds(logits: NDArray[np.float32], columns: NDArray[np.int64]) -> NDArray[np.float64]:
    """The logarithm of a category's probability over that of all others together.

    Args:
        logits: `(n, n_categories)`, at least two categories.
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
    """The mean score of the first `NEIGHBOURS` hits, or of all if there are fewer; there must be one."""
    scores = [hit.score for hit in nearest[:NEIGHBOURS]]
    return sum(scores) / len(scores)
