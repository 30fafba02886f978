"""The classifier head: one Dense softmax layer over an embedding, stored as plain arrays with its temperature."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import SnapshotError
from shared.files.npz_file import read_arrays
from shared.model.ood_rule import OodRule
from shared.model.projection import Projection
from shared.vectors import Vectors

PROBE_COVERAGE = 0.98
"""The default share of queries for which `probe: auto` searches the right category."""
_Z = 0.5


@dataclass(frozen=True)
class Classifier:
    """A trained classifier head; `categories[i]` belongs to column `i`.

    Attributes:
        categories: names, in the order of the columns.
        weights: `(dim, n_categories)` float32.
        bias: `(n_categories,)` float32.
        temperature: divides the logits, fitted on held-out items (Guo et al., 2017, "On Calibration of Modern Neural
            Networks").
        own_probabilities: `(n,)` float32, ascending: the probabilities of held-out images' own categories; empty if
            there were none.
        n_groups: the number of independent groups that these images are of; 0 if it is not known, as in files of
            earlier versions.
        ood_rule: None if none was fitted.
        projection: of the embeddings that it is given, which it inverts first: the head was trained on base embeddings.
            None if these are not projected. Not stored with the head, but by the snapshot.
    """

    categories: tuple[str, ...]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    temperature: float = 1.0
    own_probabilities: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    n_groups: int = 0
    ood_rule: OodRule | None = None
    projection: Projection | None = None

    def __post_init__(self) -> None:
        """Check shapes and values.

        Raises:
            SnapshotError: the shapes don't fit, or a value is invalid.
        """
        n_categories = len(self.categories)
        if self.weights.ndim != 2 or self.weights.shape[1] != n_categories or self.bias.shape != (n_categories,):
            raise SnapshotError(
                f"the classifier has weights {self.weights.shape} and bias {self.bias.shape};"
                f" expected (dim, {n_categories}) and ({n_categories},), one column per category"
            )
        if not 0 < self.temperature < math.inf:
            raise SnapshotError(f"the classifier's temperature is {self.temperature}; expected a finite number above 0")
        if len(set(self.categories)) < n_categories:
            raise SnapshotError("the classifier has a category twice")
        own = self.own_probabilities
        if own.ndim != 1 or not all(np.isfinite(part).all() for part in (self.weights, self.bias, own)):
            raise SnapshotError("the classifier has values that are not finite")
        if self.ood_rule is not None and len(self.ood_rule.thresholds) != n_categories:
            n_thresholds = len(self.ood_rule.thresholds)
            raise SnapshotError(f"the classifier's OOD rule has {n_thresholds} thresholds; expected {n_categories}")
        if self.ood_rule is not None and self.ood_rule.energy_score is not None:
            dim, energy_dim = len(self.weights), len(self.ood_rule.energy_score.weights)
            if energy_dim != dim:
                raise SnapshotError(f"the classifier's energy score takes {energy_dim} dimensions; expected {dim}")

    def logits(self, embeddings: Vectors) -> NDArray[np.float32]:
        """`(n, dim)` unit rows → `(n, n_categories)` float32, before the temperature."""
        logits: NDArray[np.float32] = self.base_embeddings(embeddings) @ self.weights + self.bias
        return logits

    def base_embeddings(self, embeddings: Vectors) -> Vectors:
        """`(n, dim)` unit rows as they are searched → the same shape, as the head was trained on them."""
        return embeddings if self.projection is None else self.projection.invert(embeddings)

    def probabilities(self, embeddings: Vectors) -> NDArray[np.float32]:
        """`(n, dim)` unit rows → `(n, n_categories)` float32, calibrated, rows that sum to 1."""
        return softmax(self.logits(embeddings) / np.float32(self.temperature))

    def mean_probabilities(self, pictures: Vectors) -> NDArray[np.float32]:
        """`(n_pictures, dim)` unit rows of one query → `(n_categories,)` float32: the mean over its pictures."""
        mean: NDArray[np.float32] = self.probabilities(pictures).mean(axis=0)
        return mean

    def n_likely(self, probabilities: NDArray[np.float32], coverage: float) -> int:
        """The number of most probable categories to search, so that the right one is among them.

        These are all that are at least as probable as their own categories were for a share `coverage` of the held-out
        images: of all rules, the one with the fewest categories on average (Sadinle, Lei and Wasserman, 2019, "Least
        Ambiguous Set-Valued Classifiers with Bounded Error Levels"). Where the images are of few groups, their share is
        unsure, so a larger one is required: by `_Z` standard deviations of a share counted over so many groups. If
        there are too few held-out images: see `n_covering`.

        Args:
            probabilities: `(n_categories,)`, calibrated, in any order.
            coverage: share of the queries, 0…1.

        Returns:
            1 or more.
        """
        n_held_out, missed = len(self.own_probabilities), 1 - coverage
        if self.n_groups > 0:
            missed -= _Z * math.sqrt(coverage * (1 - coverage) / self.n_groups)
        n_missed = min(math.floor(missed * (n_held_out + 1) + 1e-9), n_held_out)
        if n_missed < 1:
            return n_covering(probabilities, coverage)
        lowest = self.own_probabilities[n_missed - 1]
        return max(1, int((probabilities >= lowest).sum()))

    def save(self, path: Path) -> None:
        """Write the classifier to an `.npz` file."""
        arrays: dict[str, Any] = {
            "categories": np.array(self.categories, dtype=np.str_),
            "weights": self.weights,
            "bias": self.bias,
            "temperature": np.float64(self.temperature),
            "own_probabilities": self.own_probabilities,
            "n_groups": np.int64(self.n_groups),
        }
        if self.ood_rule is not None:
            arrays |= self.ood_rule.to_arrays()
        np.savez(path, **arrays)

    @classmethod
    def open(cls, path: Path) -> "Classifier":
        """Read the file that `save` wrote.

        Raises:
            SnapshotError: the file is missing, damaged or inconsistent.
        """
        arrays = read_arrays(path, "the classifier")
        try:
            return cls(
                categories=tuple(_names(arrays["categories"])),
                weights=np.ascontiguousarray(arrays["weights"], dtype=np.float32),
                bias=np.ascontiguousarray(arrays["bias"], dtype=np.float32),
                temperature=float(arrays["temperature"]),
                own_probabilities=np.asarray(arrays.get("own_probabilities", ()), dtype=np.float32),
                n_groups=max(0, int(arrays.get("n_groups", 0))),
                ood_rule=OodRule.from_arrays(arrays),
            )
        except (KeyError, TypeError, ValueError, SnapshotError) as error:
            raise SnapshotError(f"the classifier {path} can't be read: {error}") from error


def _names(names: NDArray[Any]) -> list[str]:
    if names.ndim != 1 or names.dtype.kind != "U":
        raise SnapshotError(f"its categories are {names.dtype} of shape {names.shape}; expected a list of text")
    categories: list[str] = names.tolist()
    return categories


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """`(n, n_categories)` → the same shape, rows that sum to 1; safe for large logits."""
    exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float32] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return probabilities


def ranking(probabilities: NDArray[np.float32]) -> NDArray[np.intp]:
    """`(n, n_categories)`, or one row → the same shape: the columns, most probable first, ties in column order."""
    return np.argsort(-probabilities, axis=-1, kind="stable")


def n_covering(probabilities: NDArray[np.float32], coverage: float) -> int:
    """The number of most probable categories whose probabilities add up to `coverage`.

    Args:
        probabilities: `(n_categories,)`, calibrated, in any order.
        coverage: 0…1.
    """
    cumulative = np.cumsum(np.sort(probabilities)[::-1], dtype=np.float64)
    return min(int(np.searchsorted(cumulative, coverage - 1e-6)) + 1, len(probabilities))
