"""Repair of image files whose pixels are intact, but which Pillow rejects for damage beside them.

Only files that could not be decoded are repaired, so nothing changes for others.
"""

import re
import zlib
from collections.abc import Iterator
from itertools import islice, takewhile

import numpy as np
from PIL import Image

from shared.errors import BrokenImage

MAX_MISSING_ROWS = 1 / 16
"""The share of the rows of a truncated JPEG that may be missing."""

_PNG = b"\x89PNG\r\n\x1a\n"
_MIN_TRANSPARENCY_BYTES = {0: 2, 2: 6, 3: 1}  # by colour type: grey, RGB, palette
_PNG_HEADER = b"\0\0\0\x0dIHDR"  # the length and the kind of the first chunk of every PNG
_COLOUR_TYPE_OFFSET = 25

_JPEG = b"\xff\xd8"
_JPEG_END = b"\xff\xd9"
_SEGMENT = re.compile(rb"\xff([\xc0-\xcf\xda-\xfe])")  # not the markers that occur within pixel data
_FRAMES = frozenset({0xC0, 0xC1, 0xC2})
_PROGRESSIVE, _START_OF_SCAN = 0xC2, 0xDA
_COEFFICIENTS = 64
_MAX_PARTS = 50_000  # chunks or segments that are read, in about 0.1 s
_FILL_VALUES = (127, 128)  # mid-grey, with which libjpeg fills rows without data; 127 where CMYK is inverted


def repaired(data: bytes) -> bytes | None:
    """Return a file with the same pixels that may be decodable, or None where it can't be repaired.

    - A PNG without its ancillary chunks (texts, colour profiles, times, …), which browsers skip where they are damaged
      or huge. Transparency and EXIF are kept where their checksums are right.
    - A truncated JPEG with an end marker added, if all of its scans have begun; `reject_missing_rows` decides once it
      is decoded.
    """
    if data.startswith(_PNG + _PNG_HEADER) and len(data) > _COLOUR_TYPE_OFFSET:
        return _PNG + b"".join(_needed_chunks(data))
    if data.startswith(_JPEG) and _has_all_scans(data):
        return data.rstrip(b"\0") + _JPEG_END
    return None


def reject_missing_rows(image: Image.Image, name: str) -> None:
    """Reject a repaired JPEG whose bottom rows are missing, that is, nothing but libjpeg's fill value.

    Args:
        image: as decoded, neither converted nor transposed.
        name: the image's name in messages.

    Raises:
        BrokenImage: more than `MAX_MISSING_ROWS` of the rows are missing.
    """
    pixels = np.asarray(image).reshape(image.height, -1)
    n_missing = sum(1 for _ in takewhile(lambda row: np.isin(row, _FILL_VALUES).all(), pixels[::-1]))
    if n_missing > MAX_MISSING_ROWS * image.height:
        raise BrokenImage(
            f"{name} can't be decoded: it is truncated, {n_missing / image.height:.0%} of its rows are missing"
        )


def _needed_chunks(data: bytes) -> Iterator[memoryview]:
    """The critical chunks of a PNG, and those of transparency and EXIF that are intact."""
    view = memoryview(data)
    for begin, kind, content in islice(_chunks(view), _MAX_PARTS):
        end = begin + 12 + len(content)
        is_critical = kind[:1].isupper()
        if is_critical or (_is_kept(data, kind, content) and _has_checksum(view[begin:end])):
            yield view[begin:end]


def _chunks(view: memoryview) -> Iterator[tuple[int, bytes, memoryview]]:
    """The start, kind and content of each chunk of a PNG; the last chunk may be truncated."""
    begin = len(_PNG)
    while begin + 8 <= len(view):
        length = int.from_bytes(view[begin : begin + 4], "big")
        content = view[begin + 8 : begin + 8 + length]
        yield begin, bytes(view[begin + 4 : begin + 8]), content
        begin += 12 + length


def _is_kept(data: bytes, kind: bytes, content: memoryview) -> bool:
    if kind == b"tRNS":
        return len(content) >= _MIN_TRANSPARENCY_BYTES.get(data[_COLOUR_TYPE_OFFSET], 0)
    return kind == b"eXIf"


def _has_checksum(chunk: memoryview) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")


def _has_all_scans(data: bytes) -> bool:
    """Return True if the scans of a JPEG that have begun hold each component's coefficients in full precision."""
    missing: dict[int, set[int]] = {}
    is_progressive = False
    for marker, body in islice(_segments(data), _MAX_PARTS):
        if marker in _FRAMES:
            is_progressive = marker == _PROGRESSIVE
            missing = {component: set(range(_COEFFICIENTS)) for component in body[6::3]}
        elif marker == _START_OF_SCAN and len(body) >= 4:
            first, last, precision = body[-3:] if is_progressive else (0, _COEFFICIENTS - 1, 0)
            is_final = precision % 16 == 0  # the number of bits left to later scans
            for component in body[1:-3:2] if is_final else b"":
                missing.get(component, set()).difference_update(range(first, last + 1))
    return bool(missing) and not any(missing.values())


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The marker and content of each segment of a JPEG."""
    position = len(_JPEG)
    while match := _SEGMENT.search(data, position):
        length = max(2, int.from_bytes(data[match.end() : match.end() + 2], "big"))
        position = match.end() + length
        yield match[1][0], data[match.end() + 2 : position]
