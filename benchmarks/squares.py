"""Other ways of bringing a photo to the embedder's square than `shared.images.decode.to_pixels`, to compare it with."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.images.decode import SIDE_PX

Colour = tuple[int, int, int]
"""Red, green and blue, 0…255."""


def squashed(image: Image.Image) -> NDArray[np.uint8]:
    """The whole image, its aspect lost: `(224, 224, 3)` uint8."""
    return np.asarray(image.resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR))


def square(image: Image.Image, side: float, outside: Colour | None) -> NDArray[np.uint8]:
    """A centred square, its aspect kept: `(224, 224, 3)` uint8.

    Args:
        image: RGB.
        side: of the square in the image's own pixels; it may reach out of the image.
        outside: what is put there; None repeats the image's edge.
    """
    cut_width, cut_height = min(image.width, side), min(image.height, side)
    left, top = (image.width - cut_width) / 2, (image.height - cut_height) / 2
    size = (max(1, round(SIDE_PX * cut_width / side)), max(1, round(SIDE_PX * cut_height / side)))
    box = (left, top, left + cut_width, top + cut_height)
    scaled = np.asarray(image.resize(size, Image.Resampling.BILINEAR, box=box, reducing_gap=3.0))
    before = ((SIDE_PX - size[1]) // 2, (SIDE_PX - size[0]) // 2)
    after = (SIDE_PX - size[1] - before[0], SIDE_PX - size[0] - before[1])
    padded = np.pad(scaled, ((before[0], after[0]), (before[1], after[1]), (0, 0)), mode="edge")
    if outside is not None:
        inside = np.zeros((SIDE_PX, SIDE_PX, 1), dtype=np.bool_)
        inside[before[0] : SIDE_PX - after[0], before[1] : SIDE_PX - after[1]] = True
        padded = np.where(inside, padded, np.array(outside, dtype=np.uint8))
    return padded


def border_colour(image: Image.Image) -> Colour:
    """The mean colour of the outermost pixels."""
    pixels = np.asarray(image)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    red, green, blue = border.mean(axis=0).round().astype(int).tolist()
    return red, green, blue
