"""The head on the base: one Dense softmax over an embedding, kept as plain arrays with its temperature."""

import math
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from shared.errors import SnapshotError
from shared.files.regular_file import open_regular
from shared.model.ood_rule import KnownRule
from shared.vectors import Vectors

PROBE_COVERAGE = 0.98
"""For what share of the queries `probe: auto` searches the right category, unless the service is set otherwise."""


@dataclass(frozen=True)
class Classifier:
    """A trained head; `categories[i]` belongs to column `i`.

    Attributes:
        categories: names, in the order of the columns.
        weights: `(dim, n_categories)` float32.
        bias: `(n_categories,)` float32.
        temperature: divides the logits, fitted on held-out items (Guo et al., 2017, "On Calibration of Modern Neural
            Networks").
        own_probabilities: `(n,)` float32, ascending: what held-out images' own categories were given; empty where there
            were none.
        known: tells queries that show none of the categories; None where nothing was fitted.
    """

    categories: tuple[str, ...]
    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    temperature: float = 1.0
    own_probabilities: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    known: KnownRule | None = None

    def __post_init__(self) -> None:
        """Check that the parts fit each other."""
        wanted = len(self.categories)
        if self.weights.ndim != 2 or self.weights.shape[1] != wanted or self.bias.shape != (wanted,):
            raise SnapshotError(
                f"the classifier has {wanted} categories, but weights {self.weights.shape} and bias {self.bias.shape}"
            )
        if not 0 < self.temperature < math.inf:
            raise SnapshotError(f"the classifier's temperature is {self.temperature}; wanted more than 0")
        if len(set(self.categories)) < wanted:
            raise SnapshotError("the classifier has a category twice")
        own = self.own_probabilities
        if own.ndim != 1 or not all(np.isfinite(part).all() for part in (self.weights, self.bias, own)):
            raise SnapshotError("the classifier has numbers that are not finite")
        if self.known is not None and len(self.known.thresholds) != wanted:
            found = f"{len(self.known.thresholds)} thresholds for known queries"
            raise SnapshotError(f"the classifier has {wanted} categories, but {found}")
        if self.known is not None and self.known.clarity is not None:
            dim, found_dim = len(self.weights), len(self.known.clarity.weights)
            if found_dim != dim:
                raise SnapshotError(f"the classifier's embeddings are {dim} long, those of its clarity {found_dim}")

    def logits(self, embeddings: Vectors) -> NDArray[np.float32]:
        """`(n, dim)` unit rows → `(n, n_categories)` float32, before the temperature."""
        logits: NDArray[np.float32] = embeddings @ self.weights + self.bias
        return logits

    def probabilities(self, embeddings: Vectors) -> NDArray[np.float32]:
        """`(n, dim)` unit rows → `(n, n_categories)` float32, calibrated, rows that sum to 1."""
        return softmax(self.logits(embeddings) / np.float32(self.temperature))

    def mean_probabilities(self, pictures: Vectors) -> NDArray[np.float32]:
        """`(n_pictures, dim)` unit rows, all of one query → `(n_categories,)` float32: the mean over its pictures."""
        mean: NDArray[np.float32] = self.probabilities(pictures).mean(axis=0)
        return mean

    def needed(self, probabilities: NDArray[np.float32], share: float) -> int:
        """How many of the most probable categories to search, so that the right one is among them.

        All that are at least as probable as their own categories were for `share` of the held-out images: of all ways
        to choose, the one that takes the fewest on average (Sadinle, Lei and Wasserman, 2019, "Least Ambiguous
        Set-Valued Classifiers with Bounded Error Levels"). Too few held-out images to tell: as `covering`.

        Args:
            probabilities: `(n_categories,)`, calibrated, in any order.
            share: of the queries, 0…1.

        Returns:
            1 or more.
        """
        n_held_out = len(self.own_probabilities)
        missed = min(math.floor((1 - share) * (n_held_out + 1) + 1e-9), n_held_out)
        if missed < 1:
            return covering(probabilities, share)
        least = self.own_probabilities[missed - 1]
        return max(1, int((probabilities >= least).sum()))

    def likely(self, probabilities: NDArray[np.float32], share: float = PROBE_COVERAGE) -> list[str]:
        """The categories that are `needed`, most probable first."""
        return [self.categories[place] for place in ranking(probabilities)[: self.needed(probabilities, share)]]

    def save(self, path: Path) -> None:
        """Write everything to one `.npz`."""
        arrays: dict[str, Any] = {
            "categories": np.array(self.categories, dtype=np.str_),
            "weights": self.weights,
            "bias": self.bias,
            "temperature": np.float64(self.temperature),
            "own_probabilities": self.own_probabilities,
        }
        if self.known is not None:
            arrays |= self.known.arrays()
        np.savez(path, **arrays)

    @classmethod
    def open(cls, path: Path) -> "Classifier":
        """Read what `save` wrote.

        Raises:
            SnapshotError: missing, damaged or inconsistent.
        """
        try:
            with open_regular(path, path.parent.parent) as file:
                _require_stored(file)
                arrays = dict(np.load(file, allow_pickle=False).items())
                return cls(
                    categories=tuple(_names(arrays["categories"])),
                    weights=np.ascontiguousarray(arrays["weights"], dtype=np.float32),
                    bias=np.ascontiguousarray(arrays["bias"], dtype=np.float32),
                    temperature=float(arrays["temperature"]),
                    own_probabilities=np.asarray(arrays.get("own_probabilities", ()), dtype=np.float32),
                    known=KnownRule.of_arrays(arrays),
                )
        except Exception as error:  # damaged bytes meet zipfile and NumPy with many kinds
            raise SnapshotError(f"the classifier {path} can't be read: {error}") from error


def _require_stored(file: BinaryIO) -> None:
    """Refuse an archive whose members take more bytes than the file has: `save` compresses nothing."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
    size = file.seek(0, 2)
    if any(member.compress_type != zipfile.ZIP_STORED for member in members) or (
        sum(member.file_size for member in members) > size
    ):
        raise SnapshotError("it is compressed, or its members are larger than itself")
    file.seek(0)


def _names(names: NDArray[Any]) -> list[str]:
    if names.ndim != 1 or names.dtype.kind != "U":
        raise SnapshotError(f"its categories are {names.dtype} of shape {names.shape}; expected a list of text")
    found: list[str] = names.tolist()
    return found


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """`(n, n_categories)` → the same shape, rows that sum to 1; safe for large logits."""
    raised = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities: NDArray[np.float32] = raised / raised.sum(axis=1, keepdims=True)
    return probabilities


def ranking(probabilities: NDArray[np.float32]) -> NDArray[np.intp]:
    """`(n, n_categories)`, or one row → the same shape: a row's columns, most probable first, ties in column order."""
    return np.argsort(-probabilities, axis=-1, kind="stable")


def covering(probabilities: NDArray[np.float32], share: float) -> int:
    """How many of the most probable categories together reach `share`.

    Args:
        probabilities: `(n_categories,)`, calibrated, in any order.
        share: 0…1.
    """
    reached = np.cumsum(np.sort(probabilities)[::-1], dtype=np.float64)
    return min(int(np.searchsorted(reached, share - 1e-6)) + 1, len(probabilities))
