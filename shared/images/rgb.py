"""Conversion of a decoded image, in any of Pillow's modes, to upright 8-bit RGB."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_ORIENTATION_TAG = 0x0112
_TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPS_AXES = frozenset(_TRANSPOSES[orientation] for orientation in (5, 6, 7, 8))
_REVERSES_ROWS = frozenset(_TRANSPOSES[orientation] for orientation in (3, 4, 6, 7))  # the upper rows come last
_WHITE = (255, 255, 255)
_BAND_PX = 1_000_000
_MAX_EXIF_BYTES = 1024 * 1024


def is_rgb(image: Image.Image) -> bool:
    """Return True if the image is RGB without transparency."""
    return image.mode == "RGB" and "transparency" not in image.info


def upright_transpose(image: Image.Image) -> Image.Transpose | None:
    """The transpose that brings an image upright, by its EXIF orientation; None if it is upright.

    Args:
        image: decoded, since PNGs may have EXIF behind their pixels.
    """
    # Broken EXIF is no reason to reject an image that decodes; nor is huge EXIF, which would take seconds to read.
    if len(image.info.get("exif", b"")) > _MAX_EXIF_BYTES:
        return None
    try:
        return _TRANSPOSES.get(int(image.getexif().get(_ORIENTATION_TAG, 1)))
    except Exception:
        return None


def to_upright_rgb(image: Image.Image, transpose: Image.Transpose | None) -> Image.Image:
    """Convert and transpose an image in bands of rows, so that only the result is in memory at full size.

    Args:
        image: decoded, of any mode; transparent pixels are blended with white.
        transpose: the result of `upright_transpose`.
    """
    width, height = image.size
    swaps_axes = transpose is not None and transpose in _SWAPS_AXES
    upright = Image.new("RGB", (height, width) if swaps_axes else (width, height))
    to_rgb = _rgb_converter(image)
    rows = max(1, _BAND_PX // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        band = to_rgb(image.crop((0, top, width, bottom)))
        start = height - bottom if transpose in _REVERSES_ROWS else top
        upright.paste(
            band if transpose is None else band.transpose(transpose), (start, 0) if swaps_axes else (0, start)
        )
    return upright


def _rgb_converter(image: Image.Image) -> Callable[[Image.Image], Image.Image]:
    if image.mode.startswith("I") or image.mode == "F":
        full_scale = _full_scale(image)
        return lambda band: Image.fromarray(_to_8_bits(np.asarray(band), full_scale)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        return _over_white
    return lambda band: band.convert("RGB")


def _over_white(band: Image.Image) -> Image.Image:
    layer = band.convert("RGBA")
    white = Image.new("RGBA", layer.size, (*_WHITE, 255))
    return Image.alpha_composite(white, layer).convert("RGB")


def _full_scale(image: Image.Image) -> float:
    """The value of white: 65,535 for integers (16-bit even in 32-bit containers); 1 or 255 for floats."""
    if image.mode != "F":
        return 65_535.0
    rows = max(1, _BAND_PX // image.width)
    tops = range(0, image.height, rows)
    bands = (np.asarray(image.crop((0, top, image.width, min(top + rows, image.height)))) for top in tops)
    return 1.0 if all(np.nan_to_num(band).max(initial=0.0) <= 1.0 for band in bands) else 255.0


def _to_8_bits(values: NDArray[np.generic], full_scale: float) -> NDArray[np.uint8]:
    """Map 0…`full_scale` to 0…255; Pillow's own conversion clips instead."""
    finite = np.nan_to_num(values.astype(np.float64))
    return np.clip(finite * (255.0 / full_scale) + 0.5, 0, 255).astype(np.uint8)
