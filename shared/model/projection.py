"""The projection: a linear map of base embeddings that brings images nearer which are described by the same words.

Metric learning: a product `x·y + a² (Wx)·(Wy)`, where `W` predicts the features of an image's words, is the inner
product of `Lx` and `Ly` with `L = (I + a² WᵀW)^½`. L is symmetric and, but for its largest directions, nearly the
identity, so it is stored as these directions and their gains. Projected embeddings are normalised again: everything
that holds for unit vectors and cosines holds for them.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.errors import SnapshotError
from shared.files.npz_file import read_arrays, typed_array
from shared.model.embedder import Embedder
from shared.vectors import Pixels, Vectors, unit_rows

MAX_GAIN = 1_000_000
"""Far more than any that words bring; more would leave float32 no digits of the other directions."""

_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Projection:
    """`x → x + basis · ((gains - 1) ⊙ basisᵀ x)`, then normalised; invertible.

    Attributes:
        basis: `(dim, rank)` float32, orthonormal columns.
        gains: `(rank,)` float32, from 1 to `MAX_GAIN`.
    """

    basis: NDArray[np.float32]
    gains: NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check shapes and values.

        Raises:
            SnapshotError: the shapes don't fit, or a value is invalid.
        """
        fits = self.basis.ndim == 2 and self.gains.shape == self.basis.shape[1:] and self.rank <= self.dim
        if not (fits and self._is_orthonormal() and ((self.gains >= 1) & (self.gains <= MAX_GAIN)).all()):
            raise SnapshotError(
                f"the projection has a basis {self.basis.shape} and gains {self.gains.shape};"
                f" expected orthonormal (dim, rank) and (rank,), gains from 1 to {MAX_GAIN:,}"
            )

    def _is_orthonormal(self) -> bool:
        if not (np.abs(self.basis) <= 1 + _TOLERANCE).all():  # nor is NaN
            return False
        return bool(np.allclose(self.basis.T @ self.basis, np.eye(self.rank), atol=_TOLERANCE))

    @property
    def rank(self) -> int:
        """The number of directions with a gain."""
        return len(self.gains)

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return len(self.basis)

    @property
    def digest(self) -> str:
        """A hash of the map."""
        return hashlib.sha256(self.basis.tobytes() + self.gains.tobytes()).hexdigest()[:16]

    def apply(self, base: Vectors) -> Vectors:
        """`(n, dim)` base embeddings → `(n, dim)` float32 unit rows."""
        return self._scaled(base, self.gains - 1)

    def invert(self, projected: Vectors) -> Vectors:
        """`(n, dim)` projected embeddings → `(n, dim)` float32 unit rows: the base embeddings, up to rounding."""
        return self._scaled(projected, 1 / self.gains - np.float32(1))

    def _scaled(self, rows: Vectors, factors: NDArray[np.floating]) -> Vectors:
        return unit_rows(rows + ((rows @ self.basis) * factors.astype(np.float32)) @ self.basis.T)

    def save(self, path: Path) -> None:
        """Write it to an `.npz` file."""
        np.savez(path, basis=self.basis, gains=self.gains)

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, NDArray[Any]], suffix: str = "") -> "Projection":
        """Make it of arrays of a file, whose names end with `suffix`.

        Raises:
            SnapshotError: one is missing or invalid.
        """
        basis, gains = (typed_array(arrays, name + suffix, np.float32) for name in ("basis", "gains"))
        return cls(basis, gains)

    @classmethod
    def open(cls, path: Path) -> "Projection":
        """Read it from a file.

        Raises:
            SnapshotError: the file is missing or damaged.
        """
        arrays = read_arrays(path, "the projection")
        try:
            return cls.of_arrays(arrays)
        except SnapshotError as error:
            raise SnapshotError(f"the projection {path} can't be read: {error}") from error


class ProjectedEmbedder:
    """An embedder whose embeddings are projected; its id is that of the base, which the projection does not change."""

    def __init__(self, base: Embedder, projection: Projection) -> None:
        """Project the embeddings of `base`.

        Raises:
            SnapshotError: the two have different dimensions.
        """
        if base.dim != projection.dim:
            raise SnapshotError(f"the projection takes {projection.dim} dimensions; the embedder makes {base.dim}")
        self._base, self._projection = base, projection
        self.dim, self.side_px, self.embedder_id = base.dim, base.side_px, base.embedder_id

    def embed(self, pixels: Pixels, is_alone: bool = False) -> Vectors:
        """Embed as the base does, and project: `(n, dim)` float32 unit rows."""
        return self._projection.apply(self._base.embed(pixels, is_alone))
