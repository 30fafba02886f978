"""The one place that makes embeddings unit rows, so that an inner product is a cosine everywhere else."""

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Vectors: TypeAlias = NDArray[np.float32]
"""`(n, dim)` float32, unit rows."""

Pixels: TypeAlias = NDArray[np.uint8]
"""`(n, side, side, 3)` uint8 RGB, ready for the embedder."""


def unit_rows(rows: ArrayLike) -> Vectors:
    """Return `rows` scaled to length 1, as a new C-contiguous array.

    Args:
        rows: `(n, dim)`, any real dtype. It is not changed.

    Returns:
        `(n, dim)` float32 with unit rows.

    Raises:
        ValueError: not two-dimensional, or a row that is zero or not finite and so has no direction.
    """
    array = np.array(rows, dtype=np.float64, order="C")
    if array.ndim != 2:
        raise ValueError(f"expected an array of shape (n, dim), found {array.shape}")
    lengths = np.sqrt(np.einsum("ij,ij->i", array, array))
    bad = ~(np.isfinite(lengths) & (lengths > 0.0))
    if bad.any():
        raise ValueError(f"row {int(np.argmax(bad))} has length {lengths[bad][0]}: it has no direction")
    unit: Vectors = (array / lengths[:, np.newaxis]).astype(np.float32)
    return unit
