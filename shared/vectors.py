"""Unit rows: embeddings are normalised here only, so an inner product is a cosine everywhere else."""

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vectors: TypeAlias = NDArray[np.float32]
"""`(n, dim)` float32, unit rows."""

Pixels: TypeAlias = NDArray[np.uint8]
"""`(n, side, side, 3)` uint8 RGB, ready for the embedder."""


def unit_rows(rows: ArrayLike) -> Vectors:
    """Scale rows to length 1, into a new C-contiguous array.

    Args:
        rows: `(n, dim)`, any real dtype; not modified.

    Returns:
        `(n, dim)` float32 with unit rows.

    Raises:
        ValueError: the array is not two-dimensional, or a row is zero or not finite and so has no direction.
    """
    array = np.array(rows, dtype=np.float64, order="C")
    if array.ndim != 2:
        raise ValueError(f"the array has shape {array.shape}; expected (n, dim)")
    lengths = np.sqrt(np.einsum("ij,ij->i", array, array))
    invalid = ~(np.isfinite(lengths) & (lengths > 0.0))
    if invalid.any():
        raise ValueError(f"row {int(np.argmax(invalid))} has length {lengths[invalid][0]}; expected a direction")
    unit: Vectors = (array / lengths[:, np.newaxis]).astype(np.float32)
    return unit
