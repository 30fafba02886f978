"""Augmented copies of an image, as the notebook made them: rotation, zoom and horizontal flip, seeded.

Keras's own layers cost half of an embedding's forward pass even when compiled; one affine transform of OpenCV's does
the same in a small part of it and releases the GIL (benchmarks/augmentation.py).
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

cv2.setNumThreads(1)  # images are spread over the cores already


@dataclass(frozen=True)
class Augmentation:
    """How far copies may differ from their original.

    Attributes:
        copies: how many an image.
        rotation_degrees: rotated by up to this to either side.
        zoom: scaled by 1 - zoom … 1 + zoom.
        flip: mirror half of them.
        seed: the same seed gives the same copies.
    """

    copies: int = 2
    rotation_degrees: float = 15.0
    zoom: float = 0.15
    flip: bool = True
    seed: int = 0

    def recipe(self) -> str:
        """Names everything that the copies depend on besides the image."""
        return f"{self.copies}x rotation {self.rotation_degrees:g} zoom {self.zoom:g} flip {self.flip} seed {self.seed}"

    def views(self, pixels: NDArray[np.uint8], content: bytes) -> list[NDArray[np.uint8]]:
        """The image itself, then its copies.

        Args:
            pixels: `(side, side, 3)` uint8.
            content: a digest of the image file. Together with the seed it decides the copies, so that they don't
                change with the image's place in the catalogue.
        """
        return [pixels, *(self._copy(pixels, [self.seed, number, *content]) for number in range(self.copies))]

    def _copy(self, pixels: NDArray[np.uint8], entropy: list[int]) -> NDArray[np.uint8]:
        random = np.random.default_rng(entropy)
        angle = math.radians(random.uniform(-self.rotation_degrees, self.rotation_degrees))
        scale = random.uniform(1 - self.zoom, 1 + self.zoom)
        mirrored = self.flip and random.random() < 0.5
        return affine(pixels, angle, scale, mirrored)


def affine(pixels: NDArray[np.uint8], angle: float, scale: float, mirrored: bool) -> NDArray[np.uint8]:
    """Rotate, scale and mirror an image about its centre; what comes in from outside repeats its edge.

    Args:
        pixels: `(side, side, 3)` uint8.
        angle: radians, counter-clockwise.
        scale: above 1 enlarges.
        mirrored: swap left and right of the result.
    """
    side = pixels.shape[0]
    cos, sin = math.cos(angle) / scale, math.sin(angle) / scale
    across = -1.0 if mirrored else 1.0
    # From a point of the result to the point of the source that it shows, both counted from the centre.
    turn = np.array([[across * cos, -across * sin], [sin, cos]])
    centre = np.full(2, (side - 1) / 2)
    matrix = np.column_stack([turn, centre - turn @ centre])
    return warped(pixels, matrix)


def warped(pixels: NDArray[np.uint8], matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Move an image; what comes in from outside repeats its edge.

    Args:
        pixels: `(side, side, 3)` uint8.
        matrix: `(2, 3)`, from a point of the result to the point of the source that it shows.
    """
    side = pixels.shape[0]
    moved = cv2.warpAffine(
        pixels, matrix, (side, side), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, dtype=np.uint8)
