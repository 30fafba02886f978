"""The golden embedding: that of a built-in test image, which detects a changed model or preprocessing."""

import numpy as np
from numpy.typing import NDArray

from shared.errors import SnapshotError
from shared.images.preprocessing import DEFAULT_SIDE_PX
from shared.model.embedder import Embedder
from shared.vectors import Pixels, unit_rows

MIN_COSINE = 0.999
"""The least cosine on opening. Processors differ in rounding (1e-6); a model that lost its normalisation (keras#20147),
or that has another preprocessing, is far below."""
_DRAWN_PX = 224  # the side that the image was first drawn for; others are scaled


def golden_image(side_px: int = DEFAULT_SIDE_PX) -> Pixels:
    """The built-in test image, `(1, side_px, side_px, 3)` uint8: two colour ramps, a disc and stripes."""
    row, column = np.mgrid[0:side_px, 0:side_px] * _DRAWN_PX // side_px
    image = np.stack([row, column, 255 - (row + column) // 2], axis=-1)
    image[(row - 90) ** 2 + (column - 80) ** 2 < 55**2] = (230, 60, 40)
    image[(row > 160) & (column // 8 % 2 == 0)] = (20, 20, 60)
    pixels: Pixels = np.clip(image, 0, 255).astype(np.uint8)[np.newaxis]
    return pixels


def check_golden(embedder: Embedder, golden: NDArray[np.float32]) -> None:
    """Embed the built-in test image again and compare.

    Args:
        embedder: to check.
        golden: `(dim,)` float32, the embedding of `golden_image` at its side when the snapshot was built.

    Raises:
        SnapshotError: it has another length, or a cosine below `MIN_COSINE`.
    """
    if golden.shape != (embedder.dim,):
        raise SnapshotError(f"the golden embedding has shape {golden.shape}; expected ({embedder.dim},)")
    try:
        cosine = float(embedder.embed(golden_image(embedder.side_px))[0] @ unit_rows(golden[np.newaxis])[0])
    except ValueError as error:
        raise SnapshotError(f"the golden embedding can't be compared: {error}") from error
    if cosine < MIN_COSINE:
        raise SnapshotError(
            "the embedder gives another embedding of the built-in test image than when the snapshot was built:"
            f" cosine {cosine:.4f}; expected at least {MIN_COSINE}"
        )
