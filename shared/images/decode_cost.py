"""The pixels and the memory that an image file declares; images with too many are rejected before they are decoded.

Decoding can cost far more than a file declares; see `shared.images.decode_pool`.
"""

import struct
from collections import deque
from collections.abc import Iterator

from PIL import Image

from shared.errors import ImageTooLarge
from shared.images.limits import ImageLimits

# Bytes per pixel that Pillow keeps in each mode; 4 in all others.
_MODE_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
_RGB_BYTES = 4
# WebP: two canvases of the decoder, its copy of the frame, and the image; the copy is freed before RGBA is converted.
# AVIF: the decoder's planes of up to 12 bits, its frame, the pixels as bytes, and the image.
_FORMAT_BYTES = {"WEBP": 16, "AVIF": 16}
_COEFFICIENT_BYTES = 2


def reject_large_gif_frame(data: bytes, max_pixels: int, name: str) -> None:
    """Reject a GIF whose first frame is too large: Pillow allocates its canvas on opening, before it says the size.

    Raises:
        ImageTooLarge: the frame has more than `max_pixels`.
    """
    if not data.startswith(b"GIF8"):
        return
    begin = deque(_gif_blocks(data), maxlen=1)[0]
    descriptor = data[begin : begin + 9]
    if len(descriptor) < 9:
        return
    _, _, _, width, height = struct.unpack("<cHHHH", descriptor)
    reject_too_many_pixels(width, height, max_pixels, name)


def reject_too_many_pixels(width: int, height: int, max_pixels: int, name: str) -> None:
    """Reject an image, or a frame, by its size.

    Raises:
        ImageTooLarge: it has more than `max_pixels`.
    """
    if width * height > max_pixels:
        pixels = f"{width} × {height} = {width * height:,} pixels"
        raise ImageTooLarge(f"{name} has {pixels}; at most {max_pixels:,} are allowed")


def reject_too_much_memory(image: Image.Image, needed_bytes: int, limits: ImageLimits, name: str) -> None:
    """Reject an image whose decoding takes too much memory.

    Raises:
        ImageTooLarge: `needed_bytes` is more than `limits` allow.
    """
    if limits.max_memory_bytes is not None and needed_bytes > limits.max_memory_bytes:
        raise ImageTooLarge(
            f"{name}, a {image.format} in mode {image.mode}, needs {needed_bytes:,} bytes of memory to decode; "
            f"at most {limits.max_memory_bytes:,} are allowed"
        )


def decoding_bytes(image: Image.Image, is_final: bool) -> int:
    """Peak memory for an image's pixels, in bytes, without the file itself.

    Args:
        image: not decoded yet; a JPEG after `draft`.
        is_final: True if the pixels are used as decoded, False if they have to be converted or transposed.
    """
    pixels = image.width * image.height
    if image.format in _FORMAT_BYTES:
        return pixels * _FORMAT_BYTES[image.format]
    return pixels * (_MODE_BYTES.get(image.mode, 4) + (0 if is_final else _RGB_BYTES))


def coefficient_bytes(image: Image.Image) -> int:
    """Memory that libjpeg needs for the coefficients of a progressive JPEG at any scale, in bytes; 0 for others.

    Args:
        image: not decoded yet, and before `draft`.
    """
    if not image.info.get("progressive"):
        return 0
    factors = [(horizontal, vertical) for _, horizontal, vertical, _ in getattr(image, "layer", [])]
    largest = max((h for h, _ in factors), default=1) * max((v for _, v in factors), default=1)
    samples = sum(horizontal * vertical for horizontal, vertical in factors) / max(largest, 1)
    return int(_COEFFICIENT_BYTES * samples * image.width * image.height)


def _gif_blocks(data: bytes) -> Iterator[int]:
    """The start of each block, up to the first frame's; a byte that begins no block counts as a block."""
    flags = data[10] if len(data) > 10 else 0
    position = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    while position < len(data) and data[position] not in b",;":
        yield position
        if data[position] != ord("!"):
            position += 1
            continue
        position += 2
        while position < len(data) and data[position]:
            yield position
            position += 1 + data[position]
        position += 1
    yield position
