"""How strongly a picture shows anything at all, of what the base was pretrained on.

A category's logit says how much a picture looks like that category, and how clear it is. This is about the second
alone: a linear head for the classes of the pretraining, whose logits are put together as an energy does it (Liu et al.,
2020, "Energy-based Out-of-distribution Detection").
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import SnapshotError
from shared.vectors import Vectors

_ARRAYS = ("weights", "bias")


@dataclass(frozen=True)
class Clarity:
    """Classes that the base was pretrained on, as a linear head on its unit embeddings.

    Attributes:
        weights: `(dim, n_classes)` float32.
        bias: `(n_classes,)` float32.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check that the parts fit each other.

        Raises:
            SnapshotError: they don't, or hold numbers that can't be.
        """
        fitting = self.weights.ndim == 2 and self.bias.shape == self.weights.shape[1:] and len(self.bias) > 0
        if not fitting or not np.isfinite(self.weights).all() or not np.isfinite(self.bias).all():
            raise SnapshotError(
                f"the classes for clarity have weights {self.weights.shape} and bias {self.bias.shape};"
                " wanted (dim, n) and (n,), all of them finite"
            )

    def of(self, queries: Vectors) -> NDArray[np.float64]:
        """`(n, dim)` unit rows → `(n,)`: the logarithm of the sum of their exponentiated logits."""
        logits = (queries @ self.weights + self.bias).astype(np.float64)
        highest = logits.max(axis=1)
        found: NDArray[np.float64] = highest + np.log(np.exp(logits - highest[:, np.newaxis]).sum(axis=1))
        return found

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """By name, for the classifier's file."""
        return {f"clarity_{name}": getattr(self, name) for name in _ARRAYS}

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "Clarity | None":
        """Of a classifier's file; None where it has none.

        Raises:
            SnapshotError: they can't be used.
            KeyError: some are missing.
        """
        names = [f"clarity_{name}" for name in _ARRAYS]
        if not any(name in arrays for name in names):
            return None
        return cls(*(np.ascontiguousarray(arrays[name], dtype=np.float32) for name in names))
