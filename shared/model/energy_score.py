"""The energy score of an image: how clearly it shows anything that the backbone was pretrained on.

It is the log-sum-exp of the logits of a linear head for the pretraining classes (Liu et al., 2020, "Energy-based
Out-of-distribution Detection"). A category's logit depends on the resemblance to the category and on this clarity.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import SnapshotError
from shared.vectors import Vectors

_PREFIX = "clarity_"
_ARRAYS = ("weights", "bias")


@dataclass(frozen=True)
class EnergyScore:
    """A linear head for the backbone's pretraining classes, on unit embeddings.

    Attributes:
        weights: `(dim, n_classes)` float32.
        bias: `(n_classes,)` float32.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check shapes and values.

        Raises:
            SnapshotError: the shapes don't fit, or a value is not finite.
        """
        fits = self.weights.ndim == 2 and self.bias.shape == self.weights.shape[1:] and len(self.bias) > 0
        if not fits or not np.isfinite(self.weights).all() or not np.isfinite(self.bias).all():
            raise SnapshotError(
                f"the head for the energy score has weights {self.weights.shape} and bias {self.bias.shape};"
                " expected (dim, n) and (n,), all finite"
            )

    def scores(self, queries: Vectors) -> NDArray[np.float64]:
        """`(n, dim)` unit rows → `(n,)`: the log-sum-exp of their logits."""
        logits = (queries @ self.weights + self.bias).astype(np.float64)
        highest = logits.max(axis=1)
        scores: NDArray[np.float64] = highest + np.log(np.exp(logits - highest[:, np.newaxis]).sum(axis=1))
        return scores

    def to_arrays(self) -> dict[str, NDArray[np.float32]]:
        """The arrays by their names in the classifier's file."""
        return {f"{_PREFIX}{name}": getattr(self, name) for name in _ARRAYS}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "EnergyScore | None":
        """Read the arrays of a classifier's file; None if it has none.

        Raises:
            SnapshotError: shapes or values are invalid.
            KeyError: only one of the arrays is there.
        """
        names = [f"{_PREFIX}{name}" for name in _ARRAYS]
        if not any(name in arrays for name in names):
            return None
        return cls(*(np.ascontiguousarray(arrays[name], dtype=np.float32) for name in names))
