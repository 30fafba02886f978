"""Preprocessing of decoded images: crop and scale to the embedder's square input.

How an image is brought to 224 px decides quality: see docs/decisions/0002-preprocessing.md.
"""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE_PX = 224
PREPROCESSING = "geometric-mean-square/white/bilinear/224/2"
"""The name of the preprocessing of new data directories: what `decode_image` and `to_pixels` do. Embeddings made under
different names are not comparable, so the manifest records it, and any change of a pixel needs a new name."""
FIRST_PREPROCESSING = "geometric-mean-square/white/bilinear/224/1"
"""Decodes only JPEGs at a reduced scale, so the same picture as a PNG has another embedding: for one in ten at a cosine
below 0.99."""
PREPROCESSINGS = (FIRST_PREPROCESSING, PREPROCESSING)
"""Every name that is still served."""

_WHITE = (255, 255, 255)


def to_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Crop and scale an RGB image to the embedder's square, keeping its aspect ratio.

    The crop is a centred square whose side is the geometric mean of width and height. It loses less of a long product
    than a centre crop of the short side, and shows it larger than padding to the long side. Pixels outside the image
    are white.

    Returns:
        `(224, 224, 3)` uint8.
    """
    width, height = image.size
    side = _square_side(width, height)
    crop_width, crop_height = min(width, side), min(height, side)
    left, top = (width - crop_width) / 2, (height - crop_height) / 2
    size = (max(1, round(SIDE_PX * crop_width / side)), max(1, round(SIDE_PX * crop_height / side)))
    box = (left, top, left + crop_width, top + crop_height)
    scaled = image.resize(size, Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)
    if size == (SIDE_PX, SIDE_PX):
        return np.asarray(scaled)
    square = Image.new("RGB", (SIDE_PX, SIDE_PX), _WHITE)
    square.paste(scaled, ((SIDE_PX - size[0]) // 2, (SIDE_PX - size[1]) // 2))
    return np.asarray(square)


def needed_size(width: int, height: int) -> tuple[int, int]:
    """The smallest size, in pixels, to which an image may be reduced before `to_pixels` would have to enlarge it."""
    scale = min(1.0, SIDE_PX / _square_side(width, height))
    return math.ceil(width * scale), math.ceil(height * scale)


def _square_side(width: int, height: int) -> float:
    return math.sqrt(width * height)
