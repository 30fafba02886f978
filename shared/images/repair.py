"""Image files whose pixels are there, but which Pillow refuses for damage beside them: made readable.

Only files that could not be decoded come here, so nothing changes for others.
"""

import re
import zlib
from collections.abc import Iterator
from itertools import islice, takewhile

import numpy as np
from PIL import Image

from shared.errors import BrokenImage

MAX_MISSING_ROWS = 1 / 16
"""Of a JPEG whose end is missing: the share of its rows that may be."""

_PNG = b"\x89PNG\r\n\x1a\n"
_MIN_TRANSPARENCY_BYTES = {0: 2, 2: 6, 3: 1}  # by the colour type: grey, RGB, palette
_COLOUR_TYPE_AT = 25

_JPEG = b"\xff\xd8"
_JPEG_END = b"\xff\xd9"
_SEGMENT = re.compile(rb"\xff([\xc0-\xcf\xda-\xfe])")  # none of the markers that occur within pixels
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_PROGRESSIVE, _START_OF_SCAN = 0xC2, 0xDA
_COEFFICIENTS = 64
_MAX_PARTS = 50_000  # chunks or segments that are looked at: some 0.1 s
_FILLING = (127, 128)  # mid-grey: what libjpeg makes of the rows that it has no data for; 127 where CMYK is inverted


def repaired(data: bytes) -> bytes | None:
    """A file with the same pixels that may be decoded where this one could not be; None where there is no hope.

    - A PNG without its ancillary chunks (texts, colour profiles, times, …), which are what browsers pass over where
      they are damaged or huge. Transparency and EXIF stay where their checksums are right.
    - A JPEG that was cut short with an end marker added, if all of its scans had begun: `refuse_missing_rows` is to
      judge what is decoded.
    """
    if data.startswith(_PNG):
        return _PNG + b"".join(_needed_chunks(data))
    if data.startswith(_JPEG) and _has_all_scans(data):
        return data.rstrip(b"\0") + _JPEG_END
    return None


def refuse_missing_rows(image: Image.Image, name: str) -> None:
    """Refuse a repaired JPEG that lacks too much: rows at its bottom that are nothing but libjpeg's filling.

    Args:
        image: as it was decoded, neither converted nor turned.
        name: how the message calls it.

    Raises:
        BrokenImage: more than `MAX_MISSING_ROWS` are missing.
    """
    pixels = np.asarray(image).reshape(image.height, -1)
    n_missing = sum(1 for _ in takewhile(lambda row: np.isin(row, _FILLING).all(), pixels[::-1]))
    if n_missing > MAX_MISSING_ROWS * image.height:
        raise BrokenImage(f"{name} can't be decoded: it is truncated, {n_missing / image.height:.0%} of it is missing")


def _needed_chunks(data: bytes) -> Iterator[memoryview]:
    """The chunks of a PNG that make the picture: the critical ones, and what of transparency and EXIF is intact."""
    view = memoryview(data)
    for begin, kind, content in islice(_chunks(view), _MAX_PARTS):
        end = begin + 12 + len(content)
        is_critical = kind[:1].isupper()
        if is_critical or (_is_kept(data, kind, content) and _has_checksum(view[begin:end])):
            yield view[begin:end]


def _chunks(view: memoryview) -> Iterator[tuple[int, bytes, memoryview]]:
    """Where each chunk of a PNG begins, its kind and its content; the last one may be cut short."""
    begin = len(_PNG)
    while begin + 8 <= len(view):
        length = int.from_bytes(view[begin : begin + 4], "big")
        content = view[begin + 8 : begin + 8 + length]
        yield begin, bytes(view[begin + 4 : begin + 8]), content
        begin += 12 + length


def _is_kept(data: bytes, kind: bytes, content: memoryview) -> bool:
    if kind == b"tRNS":
        return len(content) >= _MIN_TRANSPARENCY_BYTES.get(data[_COLOUR_TYPE_AT], 0)
    return kind == b"eXIf"


def _has_checksum(chunk: memoryview) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")


def _has_all_scans(data: bytes) -> bool:
    """Whether the last scan of a JPEG has begun: each component's coefficients come in their full precision."""
    lacking: dict[int, set[int]] = {}
    is_progressive = False
    for marker, body in islice(_segments(data), _MAX_PARTS):
        if marker in _FRAMES:
            is_progressive = marker == _PROGRESSIVE
            lacking = {component: set(range(_COEFFICIENTS)) for component in body[6::3]}
        elif marker == _START_OF_SCAN and len(body) >= 4:
            first, last, precision = body[-3:] if is_progressive else (0, _COEFFICIENTS - 1, 0)
            is_final = precision % 16 == 0  # the bits that later scans refine
            for component in body[1:-3:2] if is_final else b"":
                lacking.get(component, set()).difference_update(range(first, last + 1))
    return bool(lacking) and not any(lacking.values())


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment of a JPEG."""
    position = len(_JPEG)
    while found := _SEGMENT.search(data, position):
        length = max(2, int.from_bytes(data[found.end() : found.end() + 2], "big"))
        position = found.end() + length
        yield found[1][0], data[found.end() + 2 : position]
