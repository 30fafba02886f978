"""From the bytes of an image file to the pixels that the embedder takes; the same way in indexer and service.

1. `decode_image`: refuse what is too large or costly before decoding it, then decode to 8-bit RGB, upright, alpha over
   white.
2. `to_pixels`: bring it to 224 × 224.

How an image is brought to 224 px decides quality: see docs/decisions/0002-preprocessing.md.
"""

import ctypes
import io
import logging
import math
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import AvifImagePlugin, Image, ImageFile, PngImagePlugin, UnidentifiedImageError, _imaging

from shared.errors import BrokenImage, ImageError, ImageTooLarge, UnsupportedImage
from shared.images.decode_cost import coefficient_bytes, decoding_bytes, refuse_large_frame, refuse_many_pixels
from shared.images.formats import FORMATS, HEAD_BYTES, image_format, other_kind
from shared.images.repair import refuse_missing_rows, repaired

SIDE_PX = 224
PREPROCESSING = "geometric-mean-square/white/bilinear/224/2"
"""What `decode_image` and `to_pixels` do for new data directories, by name. Embeddings made under different names don't
mix, so a snapshot's manifest has its name, and a change of any pixel needs a new one."""
_FIRST_PREPROCESSING = "geometric-mean-square/white/bilinear/224/1"
PREPROCESSINGS = (_FIRST_PREPROCESSING, PREPROCESSING)
"""Every name that is still served. Under the first, only JPEGs are decoded at a smaller scale, so the same picture as a
PNG has another embedding: at a cosine below 0.99 for one in ten."""

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
_ON_ITS_SIDE = frozenset(_UPRIGHT[orientation] for orientation in (5, 6, 7, 8))
_FROM_THE_END = frozenset(_UPRIGHT[orientation] for orientation in (3, 4, 6, 7))  # the upper rows come last
_WHITE = (255, 255, 255)
_JPEGS = ("JPEG", "MPO")
_JPEG_SCALES = (8, 4, 2, 1)  # libjpeg's, as parts of the whole; its half is nearly the mean of 2 × 2 pixels
_BAND_PX = 1_000_000
_MAX_EXIF_BYTES = 1024 * 1024

# `ImageLimits.max_pixels` replaces Pillow's own limit, which would only warn in the range that matters.
Image.MAX_IMAGE_PIXELS = None
# What it unpacks of a PNG's compressed texts, and keeps while it decodes.
PngImagePlugin.MAX_TEXT_MEMORY = 8 * 1024 * 1024
# Images are decoded on several threads already.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
# What is wrong with a file is said by the error; what is odd about one that decodes, nobody asked.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)
with suppress(OSError, AttributeError):  # libtiff writes to the standard error, where it is one of Pillow's libraries
    ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)


@dataclass(frozen=True)
class ImageLimits:
    """What is refused before decoding. Bytes alone are no limit: a 68-byte PNG can claim 400 megapixels.

    Attributes:
        max_bytes: of the file.
        max_pixels: of its first frame.
        max_memory_bytes: that its pixels take while it is decoded; None for any. 4 a pixel for most, 8 with
            transparency, 16 for WebP; few for a JPEG, which is decoded at a smaller scale.
    """

    max_bytes: int = 20 * 1024 * 1024
    max_pixels: int = 50_000_000
    max_memory_bytes: int | None = 128 * 1024 * 1024


def decode_image(
    data: bytes, limits: ImageLimits, name: str = "the image", preprocessing: str = PREPROCESSING
) -> Image.Image:
    """Decode an image file to upright 8-bit RGB; of several frames the first.

    JPEGs are decoded at the smallest of libjpeg's scales that still has at least the pixels that `to_pixels` needs;
    others are reduced by the same factor, so that the same picture has the same pixels, but for rounding.
    What is damaged beside its pixels is decoded all the same, see `shared.images.repair`.
    Hostile bytes can cost minutes and gigabytes whatever they declare: a `DecodePool` decodes those.

    Args:
        data: the bytes of a JPEG, PNG, WebP, GIF, TIFF, BMP or AVIF file.
        limits: what is refused before decoding.
        name: how messages call it, for example its path.
        preprocessing: one of `PREPROCESSINGS`: that of the snapshot that the embedding is compared with.

    Raises:
        ImageTooLarge: more bytes, pixels or memory than `limits` allow.
        UnsupportedImage: the bytes are no image of those formats.
        BrokenImage: truncated or corrupt.
    """
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(f"{name} has {len(data):,} bytes; at most {limits.max_bytes:,} are allowed")
    if not data:
        raise UnsupportedImage(f"{name} is empty: expected one of {', '.join(FORMATS)}")
    refuse_large_frame(data, limits.max_pixels, name)
    try:
        image, reduction = _decode_file(data, limits, name)
    except BrokenImage:
        again = repaired(data)
        if again is None:
            raise
        image, reduction = _decode_file(again, limits, name, is_repaired=True)
    return image if preprocessing == _FIRST_PREPROCESSING or reduction == 1 else image.reduce(reduction)


def _decode_file(data: bytes, limits: ImageLimits, name: str, is_repaired: bool = False) -> tuple[Image.Image, int]:
    """The picture, and by what it is to be reduced yet to have the pixels that a JPEG of its size is decoded to."""
    # A decoder meets hostile bytes with any exception that Python has (struct.error, KeyError, SyntaxError, …),
    # hence the wide net. Nothing of ours runs inside but what tells the cost.
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            size, is_jpeg = image.size, image.format in _JPEGS
            return _decode(image, limits, name, is_repaired), 1 if is_jpeg else _jpeg_reduction(*size)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise _unidentified(data[:HEAD_BYTES], name) from None
    except Exception as error:
        raise _broken(name, error) from error


def _unidentified(head: bytes, name: str) -> ImageError:
    if damaged := image_format(head):
        return BrokenImage(f"{name} can't be decoded: it begins as {damaged}, but what follows is damaged or unknown")
    kind = other_kind(head)
    found = f" it is {kind};" if kind else ""
    return UnsupportedImage(f"{name} is in no format that can be read:{found} expected one of {', '.join(FORMATS)}")


def _broken(name: str, error: Exception) -> BrokenImage:
    return BrokenImage(f"{name} can't be decoded: {error or type(error).__name__}")


def _decode(image: ImageFile.ImageFile, limits: ImageLimits, name: str, is_repaired: bool) -> Image.Image:
    width, height = image.size
    refuse_many_pixels(width, height, limits.max_pixels, name)
    coefficients = coefficient_bytes(image)
    if image.format in _JPEGS:
        image.draft("RGB", _needed_size(width, height))
    _refuse_memory(image, coefficients + decoding_bytes(image, _is_rgb(image)), limits, name)
    image.load()
    if is_repaired and image.format in _JPEGS:
        refuse_missing_rows(image, name)
    turn = _UPRIGHT.get(_orientation(image))  # only now, since PNGs may have it behind their pixels
    if _is_rgb(image) and turn is None:
        return image
    _refuse_memory(image, coefficients + decoding_bytes(image, is_rgb=False), limits, name)
    return _upright_rgb(image, turn)


def _refuse_memory(image: Image.Image, needed: int, limits: ImageLimits, name: str) -> None:
    if limits.max_memory_bytes is not None and needed > limits.max_memory_bytes:
        raise ImageTooLarge(
            f"{name}, a {image.format} in the mode {image.mode}, takes {needed:,} bytes to decode; "
            f"at most {limits.max_memory_bytes:,} are allowed"
        )


def _is_rgb(image: Image.Image) -> bool:
    return image.mode == "RGB" and "transparency" not in image.info


def _orientation(image: Image.Image) -> int:
    # Broken EXIF is no reason to refuse a picture that decodes; nor is huge EXIF, which would take seconds to read.
    if len(image.info.get("exif", b"")) > _MAX_EXIF_BYTES:
        return 1
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:
        return 1


def _upright_rgb(image: Image.Image, turn: Image.Transpose | None) -> Image.Image:
    """Convert and turn a picture band by band: of what a whole one takes, only the result is ever there."""
    width, height = image.size
    is_on_its_side = turn is not None and turn in _ON_ITS_SIDE
    upright = Image.new("RGB", (height, width) if is_on_its_side else (width, height))
    to_rgb = _rgb_converter(image)
    rows = max(1, _BAND_PX // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        band = to_rgb(image.crop((0, top, width, bottom)))
        at = height - bottom if turn in _FROM_THE_END else top
        upright.paste(band if turn is None else band.transpose(turn), (at, 0) if is_on_its_side else (0, at))
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
    """What is white: of integers, which are 16-bit also in 32-bit containers, 65,535; of floats 1, or 255."""
    if image.mode != "F":
        return 65_535.0
    rows = max(1, _BAND_PX // image.width)
    tops = range(0, image.height, rows)
    bands = (np.asarray(image.crop((0, top, image.width, min(top + rows, image.height)))) for top in tops)
    return 1.0 if all(np.nan_to_num(band).max(initial=0.0) <= 1.0 for band in bands) else 255.0


def _to_8_bits(deep: NDArray[np.generic], full_scale: float) -> NDArray[np.uint8]:
    """Map 0…`full_scale` to 0…255; Pillow's own conversion clips."""
    values = np.nan_to_num(deep.astype(np.float64))
    return np.clip(values * (255.0 / full_scale) + 0.5, 0, 255).astype(np.uint8)


def _needed_size(width: int, height: int) -> tuple[int, int]:
    """The smallest size, its aspect kept, that still has the pixels that `to_pixels` needs."""
    shrink = min(1.0, SIDE_PX / _square_side(width, height))
    return math.ceil(width * shrink), math.ceil(height * shrink)


def _jpeg_reduction(width: int, height: int) -> int:
    """By what `Image.draft` makes a JPEG of this size smaller."""
    needed_width, needed_height = _needed_size(width, height)
    most = min(width // needed_width, height // needed_height)
    return next(scale for scale in _JPEG_SCALES if scale <= most)


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
