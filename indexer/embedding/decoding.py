"""Decoding in disposable processes, so that no image can end a build."""

import os
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from shared.images.decode_pool.pool import DecodePool
from shared.images.decode_pool.template import template_of_process
from shared.images.limits import ImageLimits
from shared.images.preprocessing import DEFAULT_PREPROCESSING, Preprocessing

_CPU_S = 10.0
"""Processor time for one image: more than for a query, since nobody is waiting."""


def decode_pixels(
    data: bytes,
    limits: ImageLimits,
    name: str = "the image",
    preprocessing: Preprocessing = DEFAULT_PREPROCESSING,
) -> NDArray[np.uint8]:
    """Decode an image file for the embedder, `(side_px, side_px, 3)` uint8, on one process per core.

    Args:
        data: the bytes of the file.
        limits: larger images are rejected.
        name: the name in error messages.
        preprocessing: that of the snapshot.

    Raises:
        ImageError: it can't be decoded, or exceeds the limits.
    """
    return _pool(os.getpid(), limits).decode(data, name, _CPU_S, preprocessing)


def decode_small(data: bytes, limits: ImageLimits, side_px: int, name: str = "the image") -> Image.Image:
    """Decode an image file to a thumbnail with sides of at most `side_px` pixels (at most 360).

    Raises:
        ImageError: it can't be decoded, or exceeds the limits.
    """
    return Image.fromarray(_pool(os.getpid(), limits).decode_small(data, side_px, name, _CPU_S))


@lru_cache(maxsize=8)
def _pool(process: int, limits: ImageLimits) -> DecodePool:
    return DecodePool(template_of_process(limits), os.cpu_count() or 1)
