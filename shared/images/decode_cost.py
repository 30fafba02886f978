"""The pixels and the memory that an image file declares: what has too much of them is refused before it is decoded.

What decoding takes beyond that can't be told from a file; see `shared.images.decode_pool`.
"""

import struct
from collections import deque
from collections.abc import Iterator

from PIL import Image

from shared.errors import ImageTooLarge

# Bytes a pixel that Pillow keeps of each mode; of the others, 4.
_KEPT = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
_RGB_BYTES = 4
# Two canvases of the decoder's, its copy of the frame, and the picture; the copy is gone when an RGBA one is converted.
_WEBP_BYTES = 16
# The decoder's planes of up to 12 bits, its frame, the pixels as bytes, and the picture.
_AVIF_BYTES = 16
_OF_FORMAT = {"WEBP": _WEBP_BYTES, "AVIF": _AVIF_BYTES}
_COEFFICIENT_BYTES = 2


def refuse_large_frame(data: bytes, max_pixels: int, name: str) -> None:
    """Refuse a GIF whose first frame is larger: Pillow fills a canvas of it on opening, before it tells the size.

    Raises:
        ImageTooLarge: more than `max_pixels`.
    """
    if not data.startswith(b"GIF8"):
        return
    begin = deque(_gif_blocks(data), maxlen=1)[0]
    descriptor = data[begin : begin + 9]
    if len(descriptor) < 9:
        return
    _, _, _, width, height = struct.unpack("<cHHHH", descriptor)
    refuse_many_pixels(width, height, max_pixels, name)


def refuse_many_pixels(width: int, height: int, max_pixels: int, name: str) -> None:
    """Refuse an image, or a frame, by its size.

    Raises:
        ImageTooLarge: more than `max_pixels`.
    """
    if width * height > max_pixels:
        found = f"{width} × {height} = {width * height:,} pixels"
        raise ImageTooLarge(f"{name} has {found}; at most {max_pixels:,} are allowed")


def decoding_bytes(image: Image.Image, is_rgb: bool) -> int:
    """The memory for an image's pixels at its peak, in bytes; beside the file's own.

    Args:
        image: not decoded yet; a JPEG, drafted.
        is_rgb: whether its pixels are the picture as they are decoded, or have to be converted or turned.
    """
    pixels = image.width * image.height
    if image.format in _OF_FORMAT:
        return pixels * _OF_FORMAT[image.format]
    return pixels * (_KEPT.get(image.mode, 4) + (0 if is_rgb else _RGB_BYTES))


def coefficient_bytes(image: Image.Image) -> int:
    """What libjpeg keeps of a progressive JPEG, in bytes, whatever scale it is decoded at; of other images nothing.

    Args:
        image: not decoded yet, and not drafted.
    """
    if not image.info.get("progressive"):
        return 0
    factors = [(across, down) for _, across, down, _ in getattr(image, "layer", [])]
    widest = max((across for across, _ in factors), default=1) * max((down for _, down in factors), default=1)
    samples = sum(across * down for across, down in factors) / max(widest, 1)
    return int(_COEFFICIENT_BYTES * samples * image.width * image.height)


def _gif_blocks(data: bytes) -> Iterator[int]:
    """Where each block begins, up to the first frame's; a byte that begins none counts as one."""
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
