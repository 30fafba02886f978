"""What decoding an image file would cost, told from its structure: what costs too much is refused before it does.

Limits on bytes and pixels alone let through what costs gigabytes or minutes: WebPs and transparent pictures take many
times the memory of their pixels, a progressive JPEG can go over its pixels thousands of times, and a PNG, GIF or JPEG
can consist of millions of empty parts.
"""

import re
import struct
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Literal

from PIL import ImageFile

from shared.errors import ImageTooLarge, UnsupportedImage

MAX_PARTS = 50_000
"""Chunks, segments, blocks or tags, which Pillow reads one by one in Python: some 0.3 s. A PNG of 20 MB in the usual
chunks of 8 KB has 2,500."""
MAX_SCANNED_PIXELS = 1_000_000_000
"""Scans of a JPEG times its pixels: 20 scans of 50 megapixels; encoders make 10 to 18."""
MAX_RLE_BYTES = 1_000_000
"""Of a run-length encoded BMP, which Pillow decodes in Python."""
MAX_RLE_PIXELS = 2_100_000
"""Of the same, a screen of 1920 × 1080: what short rows lack is added one by one."""

_TIFF_COMPRESSIONS = frozenset(
    {"raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "tiff_ccitt", "group3", "group4", "jpeg"}
)
# Bytes a pixel that Pillow keeps of each mode; of the others, 4.
_KEPT = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
_RGB_BYTES = 4
# Two canvases of the decoder's, its copy of the frame, and the picture; the copy is gone when an RGBA one is converted.
_WEBP_BYTES = 16
_STRIP_OFFSETS, _ROWS_PER_STRIP, _TILE_WIDTH, _TILE_HEIGHT = 273, 278, 322, 323
_BITS, _SAMPLES = 258, 277

_JPEG_MARKER = re.compile(rb"\xff[\x02-\xcf\xd8-\xfe]")  # none of those that stand alone or within a scan
_TAG_BYTES = 12
_START_OF_SCAN, _END = 0xDA, (0xD8, 0xD9)
_BASELINE, _EXTENDED, _PROGRESSIVE = 0xC0, 0xC1, 0xC2
_OTHER_FRAMES = frozenset(range(0xC3, 0xD0)) - {0xC4, 0xC8, 0xCC}  # lossless, hierarchical, arithmetic


def refuse_many_parts(data: bytes, name: str) -> None:
    """Refuse a file that Pillow would take long to read the parts of; it need not be an image at all.

    Raises:
        ImageTooLarge: more than `MAX_PARTS`.
    """
    for signature, parts in _PARTS.items():
        if data.startswith(signature) and next(islice(parts(data), MAX_PARTS, None), None) is not None:
            raise ImageTooLarge(f"{name} has more than {MAX_PARTS:,} parts beside its pixels")


def refuse_large_frame(data: bytes, max_pixels: int, name: str) -> None:
    """Refuse a GIF whose first frame is larger: Pillow fills a canvas of it on opening, before it tells the size.

    Raises:
        ImageTooLarge: more than `max_pixels`.
    """
    if not data.startswith(b"GIF8"):
        return
    *_, begin = _gif_blocks(data)
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


def refuse_long_work(image: ImageFile.ImageFile, data: bytes, name: str) -> None:
    """Refuse an image that would take long to decode, by what it is made of; not decoded yet.

    Raises:
        ImageTooLarge: more than the limits above.
        UnsupportedImage: a way of compression that is not read, since hardly anyone uses it.
    """
    if image.format == "BMP" and image.tile[0].codec_name == "bmp_rle":
        refuse_many_pixels(image.width, image.height, MAX_RLE_PIXELS, f"{name}, a run-length encoded BMP,")
        if len(data) > MAX_RLE_BYTES:
            found = f"{len(data):,} run-length encoded bytes"
            raise ImageTooLarge(f"{name} has {found}; at most {MAX_RLE_BYTES:,} are allowed")
    compression = image.info.get("compression", "raw")
    if image.format == "TIFF" and compression not in _TIFF_COMPRESSIONS:
        raise UnsupportedImage(f"{name} is a TIFF in the compression {compression!r}, which is not read")
    scanned = _scanned_pixels(image, data, name)
    if scanned > MAX_SCANNED_PIXELS:
        raise ImageTooLarge(
            f"{name} goes over its pixels again and again, {scanned:,} pixels in all; "
            f"at most {MAX_SCANNED_PIXELS:,} are allowed"
        )


def decoding_bytes(image: ImageFile.ImageFile, data: bytes, is_rgb: bool) -> int:
    """The memory that decoding takes at its peak, in bytes, from above; beside the file's own.

    Args:
        image: not decoded yet; a JPEG, drafted.
        data: the file.
        is_rgb: whether its pixels are the picture as they are decoded, or have to be converted or turned.
    """
    pixels = image.width * image.height
    if image.format == "WEBP":
        return pixels * _WEBP_BYTES
    kept = pixels * _KEPT.get(image.mode, 4)
    made = 0 if is_rgb else pixels * _RGB_BYTES
    return _decoder_bytes(image, data) + kept + made


def _decoder_bytes(image: ImageFile.ImageFile, data: bytes) -> int:
    if image.format == "TIFF" and image.info.get("compression", "raw") != "raw":
        return _strip_pixels(image) * _bits_a_pixel(image) // 8
    if image.format in ("JPEG", "MPO"):
        return _coefficient_bytes(data)
    if image.tile and image.tile[0].codec_name == "bmp_rle":
        return 2 * image.width * image.height
    if image.format == "GIF" and getattr(image, "dispose", None) is not None:
        return image.width * image.height
    return 0


def _scanned_pixels(image: ImageFile.ImageFile, data: bytes, name: str) -> int:
    if image.format == "TIFF" and image.info.get("compression") == "jpeg":
        return data.count(bytes((0xFF, _START_OF_SCAN))) * _strip_pixels(image)
    if image.format not in ("JPEG", "MPO"):
        return 0
    scans = 0
    for marker, _ in _jpeg_segments(data):
        if marker in _OTHER_FRAMES:
            raise UnsupportedImage(f"{name} is a JPEG that is lossless, hierarchical or arithmetic-coded: not read")
        scans += marker == _START_OF_SCAN
    return scans * image.width * image.height


def _coefficient_bytes(data: bytes) -> int:
    """What libjpeg keeps of a JPEG that has its pixels in several scans: 2 bytes for each sample."""
    width = height = components = 0
    blocks, progressive = 0.0, False
    for marker, body in _jpeg_segments(data):
        if marker in (_BASELINE, _EXTENDED, _PROGRESSIVE) and len(body) >= 6:
            progressive = marker == _PROGRESSIVE
            _, height, width, components = struct.unpack(">BHHB", body[:6])
            factors = [divmod(factor, 16) for factor in body[7::3][:components]]
            widest = max((across for across, _ in factors), default=1) * max((down for _, down in factors), default=1)
            blocks = sum(across * down for across, down in factors) / max(widest, 1)
        if marker == _START_OF_SCAN:
            is_whole = not progressive and body[:1] == bytes((components,))
            return 0 if is_whole else int(2 * blocks * width * height)
    return 0


def _strip_pixels(image: ImageFile.ImageFile) -> int:
    """Pixels that a TIFF has in one strip or tile."""
    tags: Mapping[int, int] = image.tag_v2  # type: ignore[attr-defined]
    if _STRIP_OFFSETS in tags:
        return image.width * min(image.height, tags.get(_ROWS_PER_STRIP, image.height))
    return int(tags.get(_TILE_WIDTH, image.width)) * int(tags.get(_TILE_HEIGHT, image.height))


def _bits_a_pixel(image: ImageFile.ImageFile) -> int:
    tags = image.tag_v2  # type: ignore[attr-defined]
    return int(max(tags.get(_BITS, (1,)))) * int(tags.get(_SAMPLES, 1))


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment, as libjpeg finds them."""
    for marker, begin, end in _jpeg_places(data):
        yield marker, data[begin:end]


def _jpeg_places(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker of each segment, and where its content begins and ends."""
    position = 2
    while found := _JPEG_MARKER.search(data, position):
        marker = data[found.start() + 1]
        length = int.from_bytes(data[found.end() : found.end() + 2], "big")
        if marker in _END or length < 2:
            return
        position = found.end() + length
        yield marker, found.end() + 2, position


def _jpeg_parts(data: bytes) -> Iterator[int]:
    """What comes before the pixels: segments, each byte between them, and the tags that EXIF in them may have."""
    behind = 2
    for marker, begin, end in _jpeg_places(data):
        if marker == _START_OF_SCAN:
            return
        yield from range(behind, begin - 3)
        behind = end
        if data.startswith(b"Exif", begin):
            yield from range(begin, end, _TAG_BYTES)


def _png_chunks(data: bytes) -> Iterator[int]:
    """Where each chunk begins, up to the second frame's."""
    position, has_pixels = 8, False
    while position + 8 <= len(data):
        kind = data[position + 4 : position + 8]
        if kind == b"fcTL" and has_pixels:
            return
        has_pixels |= kind == b"IDAT"
        yield position
        position += 12 + int.from_bytes(data[position : position + 4], "big")


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


def _tiff_tags(data: bytes) -> Iterator[int]:
    """Each tag of a BigTIFF's first directory; others have 65,535 at most."""
    order: Literal["big", "little"] = "big" if data.startswith(b"MM") else "little"
    at = int.from_bytes(data[8:16], order)
    yield from range(int.from_bytes(data[at : at + 8], order))


_PARTS: Mapping[bytes, Callable[[bytes], Iterator[object]]] = {
    b"\xff\xd8": _jpeg_parts,
    b"\x89PNG": _png_chunks,
    b"GIF8": _gif_blocks,
    b"II+": _tiff_tags,
    b"MM\0+": _tiff_tags,
}
