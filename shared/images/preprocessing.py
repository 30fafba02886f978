"""Preprocessing of decoded images: crop and scale to the embedder's square input.

How an image is brought to that square decides quality: see docs/decisions/0002-preprocessing.md and, for its side,
docs/decisions/0036-input-side.md.
"""

import math
import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

DEFAULT_SIDE_PX = 288
"""The side of the embedder's input in new data directories."""
SIDE_STEP_PX = 32  # what the networks reduce it by
MIN_SIDE_PX, MAX_SIDE_PX = 128, 352
FIRST_REVISION, NEWEST_REVISION = 1, 2

_NAME = re.compile(r"geometric-mean-square/white/bilinear/([1-9][0-9]*)/([1-9][0-9]*)")
_WHITE = (255, 255, 255)


def is_side(side_px: int) -> bool:
    """True if the embedder's input may have this side: 128 to 352 px in steps of 32."""
    return MIN_SIDE_PX <= side_px <= MAX_SIDE_PX and side_px % SIDE_STEP_PX == 0


@dataclass(frozen=True)
class Preprocessing:
    """The rules by which `decode_image` and `to_pixels` decode and scale; the manifest records their name.

    Embeddings made under different ones are not comparable, and any change of a pixel needs a new revision.

    Attributes:
        side_px: of the embedder's input; `is_side` says which are valid.
        revision: the first decodes only JPEGs at a reduced scale, so the same picture as a PNG has another embedding:
            for one in ten at a cosine below 0.99.
    """

    side_px: int = DEFAULT_SIDE_PX
    revision: int = NEWEST_REVISION

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: no side or revision that is still served.
        """
        if not is_side(self.side_px):
            raise ValueError(
                f"the input side is {self.side_px} px; expected {MIN_SIDE_PX} to {MAX_SIDE_PX} px, a multiple of"
                f" {SIDE_STEP_PX}"
            )
        if not FIRST_REVISION <= self.revision <= NEWEST_REVISION:
            raise ValueError(
                f"the revision is {self.revision}; this version knows {FIRST_REVISION} to {NEWEST_REVISION}"
            )

    @property
    def name(self) -> str:
        """The name in manifests and recipes, such as `geometric-mean-square/white/bilinear/224/2`."""
        return f"geometric-mean-square/white/bilinear/{self.side_px}/{self.revision}"

    @classmethod
    def parse(cls, name: str) -> "Preprocessing":
        """Read a name.

        Raises:
            ValueError: no preprocessing that is still served has this name.
        """
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueError("expected 'geometric-mean-square/white/bilinear/<side>/<revision>'")
        return cls(int(match[1]), int(match[2]))


DEFAULT_PREPROCESSING = Preprocessing()
"""The preprocessing of new data directories."""


def to_pixels(image: Image.Image, side_px: int = DEFAULT_SIDE_PX) -> NDArray[np.uint8]:
    """Crop and scale an RGB image to the embedder's square, keeping its aspect ratio.

    The crop is a centred square whose side is the geometric mean of width and height. It loses less of a long product
    than a centre crop of the short side, and shows it larger than padding to the long side. Pixels outside the image
    are white.

    Returns:
        `(side_px, side_px, 3)` uint8.
    """
    width, height = image.size
    side = _square_side(width, height)
    crop_width, crop_height = min(width, side), min(height, side)
    left, top = (width - crop_width) / 2, (height - crop_height) / 2
    size = (max(1, round(side_px * crop_width / side)), max(1, round(side_px * crop_height / side)))
    box = (left, top, left + crop_width, top + crop_height)
    scaled = image.resize(size, Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)
    if size == (side_px, side_px):
        return np.asarray(scaled)
    square = Image.new("RGB", (side_px, side_px), _WHITE)
    square.paste(scaled, ((side_px - size[0]) // 2, (side_px - size[1]) // 2))
    return np.asarray(square)


def needed_size(width: int, height: int, side_px: int) -> tuple[int, int]:
    """The smallest size, in pixels, to which an image may be reduced before `to_pixels` would have to enlarge it."""
    scale = min(1.0, side_px / _square_side(width, height))
    return math.ceil(width * scale), math.ceil(height * scale)


def _square_side(width: int, height: int) -> float:
    return math.sqrt(width * height)
