"""Strong augmentation for fine-tuning: rotation, off-centre crop, change of aspect, mirroring and colour jitter.

The copies only have to show the same thing; indexed are the milder copies of `indexer/embedding/augmentation.py`.
"""

import math

import numpy as np
from numpy.typing import NDArray

from indexer.embedding.augmentation import warped

_ROTATION_DEGREES = 12.0
_SMALLEST_CROP = 0.75
_ASPECT = 1.25
_COLOUR = 0.2
RECIPE = f"rotation {_ROTATION_DEGREES:g} crop {_SMALLEST_CROP:g} aspect {_ASPECT:g} flip colour {_COLOUR:g}"
"""Names everything that a copy depends on besides the picture and the seed."""


def strongly_augmented(pixels: NDArray[np.uint8], entropy: list[int]) -> NDArray[np.uint8]:
    """Return a strongly augmented copy; pixels from outside the picture repeat its edge.

    Args:
        pixels: `(side, side, 3)` uint8.
        entropy: the same numbers give the same copy.

    Returns:
        `(side, side, 3)` uint8.
    """
    random = np.random.default_rng(entropy)
    return _recoloured(warped(pixels, _placement(pixels.shape[0], random)), random)


def _placement(side: int, random: np.random.Generator) -> NDArray[np.float64]:
    """`(2, 3)`: maps a point of the copy to its point of the picture."""
    angle = math.radians(random.uniform(-_ROTATION_DEGREES, _ROTATION_DEGREES))
    shown = random.uniform(_SMALLEST_CROP, 1.0)
    squeeze = _ASPECT ** random.uniform(-0.5, 0.5)
    across, down = shown * squeeze, shown / squeeze
    # Anywhere inside the picture, if the crop is smaller than it.
    offset = random.uniform(-0.5, 0.5, 2) * np.maximum(0.0, (1 - across, 1 - down)) * side
    mirror = -1.0 if random.random() < 0.5 else 1.0
    cos, sin = math.cos(angle), math.sin(angle)
    turn = np.array([[cos, -sin], [sin, cos]]) @ np.diag([across * mirror, down])
    centre = np.full(2, (side - 1) / 2)
    return np.column_stack([turn, centre + offset - turn @ centre])


def _recoloured(pixels: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Change brightness, contrast and saturation."""
    brightness, contrast, saturation = random.uniform(1 - _COLOUR, 1 + _COLOUR, 3).astype(np.float32)
    colours = pixels.astype(np.float32) * brightness
    mean = colours.mean()
    colours = (colours - mean) * contrast + mean
    grey = colours.mean(axis=-1, keepdims=True)
    changed: NDArray[np.uint8] = np.clip((colours - grey) * saturation + grey, 0, 255).astype(np.uint8)
    return changed
