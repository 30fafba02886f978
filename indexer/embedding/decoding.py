"""Decode images in processes that may die, so that one image never ends a build."""

import os
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.images.decode import PREPROCESSING, ImageLimits
from shared.images.decode_pool import DecodePool, template_of_process

_CPU_S = 10.0
"""Processor time for one image: more than a query may have, since nobody waits for it."""


def decode_pixels(
    data: bytes, limits: ImageLimits, name: str = "the image", preprocessing: str = PREPROCESSING
) -> NDArray[np.uint8]:
    """Decode an image file to what the embedder takes, `(224, 224, 3)` uint8; on as many processes as there are cores.

    Args:
        data: the bytes of the file.
        limits: what is refused.
        name: how messages call it.
        preprocessing: one of `shared.images.decode.PREPROCESSINGS`.

    Raises:
        ImageError: it can't be used.
    """
    return _pool(os.getpid(), limits).decode(data, name, _CPU_S, preprocessing)


def decode_small(data: bytes, limits: ImageLimits, side_px: int, name: str = "the image") -> Image.Image:
    """Decode an image file to a picture to look at, whose sides have at most `side_px` pixels (360 at most).

    Raises:
        ImageError: it can't be used.
    """
    return Image.fromarray(_pool(os.getpid(), limits).decode_small(data, side_px, name, _CPU_S))


@lru_cache(maxsize=8)
def _pool(process: int, limits: ImageLimits) -> DecodePool:
    return DecodePool(template_of_process(limits), os.cpu_count() or 1)
