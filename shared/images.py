"""From the bytes of an image file to the pixels that the embedder takes; the same way in indexer and service.

1. `decode_image`: refuse what is too large before decoding it, then decode to 8-bit RGB, upright, alpha over white.
2. `to_pixels`: bring it to 224 × 224.

How an image is brought to 224 px decides quality: see docs/decisions/0002-preprocessing.md.
"""

import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError

from shared.errors import BrokenImage, ImageTooLarge, UnsupportedImage

SIDE_PX = 224
PREPROCESSING = "geometric-mean-square/white/bilinear/224/1"
"""What `decode_image` and `to_pixels` do, by name. Embeddings made under different names don't mix, so change it
whenever a pixel changes."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP")
SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".tif", ".tiff", ".bmp"})

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WHITE = (255, 255, 255)

# `ImageLimits.max_pixels` replaces Pillow's own limit, which would only warn in the range that matters.
Image.MAX_IMAGE_PIXELS = None


@dataclass(frozen=True)
class ImageLimits:
    """What is refused before decoding. Bytes alone are no limit: a 68-byte PNG can claim 400 megapixels."""

    max_bytes: int = 20 * 1024 * 1024
    max_pixels: int = 50_000_000


def decode_image(data: bytes, limits: ImageLimits, name: str = "the image") -> Image.Image:
    """Decode an image file to upright 8-bit RGB; of several frames the first.

    JPEGs are decoded at the smallest of libjpeg's scales that still has at least the pixels that `to_pixels` needs.

    Args:
        data: the bytes of a JPEG, PNG, WebP, GIF, TIFF or BMP file.
        limits: what is refused before decoding.
        name: how messages call it, for example its path.

    Raises:
        ImageTooLarge: more bytes or pixels than `limits` allow.
        UnsupportedImage: the bytes are no image of those formats.
        BrokenImage: truncated or corrupt.
    """
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(f"{name} has {len(data):,} bytes; at most {limits.max_bytes:,} are allowed")
    if not data:
        raise UnsupportedImage(f"{name} is empty: expected one of {', '.join(FORMATS)}")
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise UnsupportedImage(
            f"{name} is in no format that can be read: expected one of {', '.join(FORMATS)}"
        ) from None
    except Exception as error:
        raise _broken(name, error) from error
    width, height = image.size
    if width * height > limits.max_pixels:
        found = f"{width} × {height} = {width * height:,} pixels"
        raise ImageTooLarge(f"{name} has {found}; at most {limits.max_pixels:,} are allowed")
    # A decoder meets hostile bytes with any exception that Python has (struct.error, KeyError, SyntaxError, …),
    # hence the wide net. Nothing of ours runs inside.
    try:
        with image:
            return _upright_rgb(image)
    except Exception as error:
        raise _broken(name, error) from error


def _broken(name: str, error: Exception) -> BrokenImage:
    return BrokenImage(f"{name} can't be decoded: {error or type(error).__name__}")


def _upright_rgb(image: ImageFile.ImageFile) -> Image.Image:
    if image.format in ("JPEG", "MPO"):
        shrink = min(1.0, SIDE_PX / _square_side(image.width, image.height))
        image.draft("RGB", (math.ceil(image.width * shrink), math.ceil(image.height * shrink)))
    image.load()
    turn = _UPRIGHT.get(_orientation(image))
    rgb = _to_rgb(image)
    return rgb.transpose(turn) if turn is not None else rgb


def _orientation(image: Image.Image) -> int:
    # Broken EXIF is no reason to refuse a picture that decodes.
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_8_bits(np.asarray(image))).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (*_WHITE, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


def _to_8_bits(deep: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Map 16-bit integers (also in 32-bit containers) and floats in 0…1 to 0…255; Pillow's own conversion clips."""
    values = np.nan_to_num(deep.astype(np.float64))
    if np.issubdtype(deep.dtype, np.floating):
        full_scale = 1.0 if values.max(initial=0.0) <= 1.0 else 255.0
    else:
        full_scale = 65_535.0
    return np.clip(values * (255.0 / full_scale) + 0.5, 0, 255).astype(np.uint8)


def _square_side(width: int, height: int) -> float:
    return math.sqrt(width * height)


def to_pixels(image: Image.Image) -> NDArray[np.uint8]:
    """Bring an RGB image to the embedder's square, its aspect kept.

    A centred square whose side is the geometric mean of width and height is cut out: it loses less of a long product
    than a centre crop of the short side, and shows it larger than padding to the long side. What lies outside the
    image is white.

    Returns:
        `(224, 224, 3)` uint8.
    """
    width, height = image.size
    side = _square_side(width, height)
    cut_width, cut_height = min(width, side), min(height, side)
    left, top = (width - cut_width) / 2, (height - cut_height) / 2
    size = (max(1, round(SIDE_PX * cut_width / side)), max(1, round(SIDE_PX * cut_height / side)))
    box = (left, top, left + cut_width, top + cut_height)
    scaled = image.resize(size, Image.Resampling.BILINEAR, box=box, reducing_gap=3.0)
    if size == (SIDE_PX, SIDE_PX):
        return np.asarray(scaled)
    square = Image.new("RGB", (SIDE_PX, SIDE_PX), _WHITE)
    square.paste(scaled, ((SIDE_PX - size[0]) // 2, (SIDE_PX - size[1]) // 2))
    return np.asarray(square)
