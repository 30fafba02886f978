"""Decoding of an image file to upright 8-bit RGB, the same in indexer and service.

1. Reject a file that is too large or costly.
2. Decode it; a JPEG at the smallest scale that `to_pixels` needs.
3. Where that fails, repair damage beside the pixels and decode again.
4. Convert to upright RGB, alpha over white.
"""

import ctypes
import io
import logging
import warnings
from contextlib import suppress

from PIL import AvifImagePlugin, Image, ImageFile, PngImagePlugin, UnidentifiedImageError, _imaging

from shared.errors import BrokenImage, ImageError, ImageTooLarge, UnsupportedImage
from shared.images.decode_cost import (
    coefficient_bytes,
    decoding_bytes,
    reject_large_gif_frame,
    reject_too_many_pixels,
    reject_too_much_memory,
)
from shared.images.formats import FORMATS, HEAD_BYTES, image_format, other_kind
from shared.images.limits import ImageLimits
from shared.images.preprocessing import DEFAULT_PREPROCESSING, FIRST_REVISION, Preprocessing, needed_size
from shared.images.repair import reject_missing_rows, repaired
from shared.images.rgb import is_rgb, to_upright_rgb, upright_transpose

_JPEGS = ("JPEG", "MPO")
_JPEG_SCALES = (8, 4, 2, 1)  # the divisors that libjpeg offers; at 2 a pixel is nearly the mean of 2 × 2

# `ImageLimits.max_pixels` replaces Pillow's own limit, which would only warn in the range that matters.
Image.MAX_IMAGE_PIXELS = None
# For the compressed texts of a PNG, which Pillow unpacks and keeps while it decodes.
PngImagePlugin.MAX_TEXT_MEMORY = 8 * 1024 * 1024
# Images are decoded on several threads already.
AvifImagePlugin.DEFAULT_MAX_THREADS = 1
# Errors say what is wrong with a file; warnings about files that do decode are noise.
warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)
with suppress(OSError, AttributeError):  # libtiff writes to the standard error, where it is one of Pillow's libraries
    ctypes.CDLL(_imaging.__file__).TIFFSetErrorHandler(None)


def decode_image(
    data: bytes,
    limits: ImageLimits,
    name: str = "the image",
    preprocessing: Preprocessing = DEFAULT_PREPROCESSING,
) -> Image.Image:
    """Decode the first frame of an image file to upright 8-bit RGB.

    JPEGs are decoded at the smallest of libjpeg's scales that `to_pixels` need not enlarge; other formats are reduced
    by the same factor, so that the same picture has the same pixels, up to rounding. Damage beside the pixels is
    repaired, see `shared.images.repair`. Hostile bytes can cost minutes and gigabytes whatever they declare: use a
    `DecodePool` for those.

    Args:
        data: the bytes of a JPEG, PNG, WebP, GIF, TIFF, BMP or AVIF file.
        limits: larger images are rejected before they are decoded.
        name: the image's name in messages, for example its path.
        preprocessing: that of the snapshot that the embedding is compared with.

    Raises:
        ImageTooLarge: the image needs more bytes, pixels or memory than `limits` allow.
        UnsupportedImage: the bytes are not an image of those formats.
        BrokenImage: the image is truncated or corrupt.
    """
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(f"{name} has {len(data):,} bytes; at most {limits.max_bytes:,} are allowed")
    if not data:
        raise UnsupportedImage(f"{name} is empty; expected one of {', '.join(FORMATS)}")
    reject_large_gif_frame(data, limits.max_pixels, name)
    side_px = preprocessing.side_px
    try:
        image, reduction = _decode_file(data, limits, name, side_px)
    except BrokenImage:
        repaired_data = repaired(data)
        if repaired_data is None:
            raise
        image, reduction = _decode_file(repaired_data, limits, name, side_px, is_repaired=True)
    return image if preprocessing.revision == FIRST_REVISION or reduction == 1 else image.reduce(reduction)


def _decode_file(
    data: bytes, limits: ImageLimits, name: str, side_px: int, is_repaired: bool = False
) -> tuple[Image.Image, int]:
    """The image, and the factor to reduce it by for the pixels that a JPEG of its size is decoded to."""
    # Pillow's decoders raise exceptions of any type on hostile bytes (struct.error, KeyError, SyntaxError, …).
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            size, is_jpeg = image.size, image.format in _JPEGS
            decoded = _decode(image, limits, name, side_px, is_repaired)
            return decoded, 1 if is_jpeg else _jpeg_reduction(*size, side_px)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise _unidentified(data[:HEAD_BYTES], name) from None
    except Exception as error:
        raise broken_image(name, error) from error


def _unidentified(head: bytes, name: str) -> ImageError:
    if damaged := image_format(head):
        return BrokenImage(f"{name} can't be decoded: it begins as {damaged}, but what follows is damaged or unknown")
    kind = other_kind(head)
    problem = f"it is {kind}" if kind else "its format is unknown"
    return UnsupportedImage(f"{name} is not an image that can be read: {problem}; expected one of {', '.join(FORMATS)}")


def broken_image(name: str, error: Exception) -> BrokenImage:
    """The error for an image on which a decoder has failed."""
    return BrokenImage(f"{name} can't be decoded: {error or type(error).__name__}")


def _decode(image: ImageFile.ImageFile, limits: ImageLimits, name: str, side_px: int, is_repaired: bool) -> Image.Image:
    width, height = image.size
    reject_too_many_pixels(width, height, limits.max_pixels, name)
    coefficients = coefficient_bytes(image)
    if image.format in _JPEGS:
        image.draft("RGB", needed_size(width, height, side_px))
    reject_too_much_memory(image, coefficients + decoding_bytes(image, is_rgb(image)), limits, name)
    image.load()
    if is_repaired and image.format in _JPEGS:
        reject_missing_rows(image, name)
    transpose = upright_transpose(image)
    if is_rgb(image) and transpose is None:
        return image
    reject_too_much_memory(image, coefficients + decoding_bytes(image, is_final=False), limits, name)
    return to_upright_rgb(image, transpose)


def _jpeg_reduction(width: int, height: int, side_px: int) -> int:
    """The factor by which `Image.draft` reduces a JPEG of this size."""
    needed_width, needed_height = needed_size(width, height, side_px)
    largest = min(width // needed_width, height // needed_height)
    return next(scale for scale in _JPEG_SCALES if scale <= largest)
