"""Base64 images in a JSON body, cut out before it is parsed.

They are located by a scan over the strings of the body, and decoded in place, without a copy as text.
"""

import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

from search_service.api.bodies.base64_image import decode_base64
from shared.errors import InvalidRequest

Body: TypeAlias = bytes | bytearray

IMAGE_KEY = b"image_base64"
_LONG_TEXT = 4096
_PLACEHOLDER = secrets.token_hex(8)  # no client can guess it
_QUOTE = b'"'
_BACKSLASHES = re.compile(rb"\\")
_ESCAPES = {
    rb"\/": b"/",
    rb"\n": b"\n",
    rb"\r": b"\r",
    rb"\t": b"\t",
    rb"\u002B": b"+",
    rb"\u002b": b"+",
    rb"\u002F": b"/",
    rb"\u002f": b"/",
    rb"\u003D": b"=",
    rb"\u003d": b"=",
}
_BETWEEN = re.compile(rb"[ \t\r\n]*:[ \t\r\n]*")
_UTF8_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Base64Image:
    """An image as text, not decoded yet.

    Attributes:
        text: of the JSON string, escapes included.
    """

    text: memoryview = field(repr=False)

    def decode(self) -> bytes:
        """Return the bytes of the image.

        Raises:
            InvalidRequest: not base64.
        """
        return decode_base64(_unescaped(self.text))


def cut_out_images(body: Body, max_values: int) -> tuple[Body, list[Base64Image]]:
    """Cut long images out of a body.

    Returns:
        The body with a placeholder for each image, and the images.

    Raises:
        InvalidRequest: the body has more strings than `max_values` values can have.
    """
    view = memoryview(body)
    begin = len(_UTF8_BOM) if body.startswith(_UTF8_BOM) else 0
    pieces: list[bytes | memoryview] = []
    images: list[Base64Image] = []
    for key, text in pairwise(_strings(body, max_values)):
        start, end = text
        if end - start < _LONG_TEXT or body[slice(*key)] != IMAGE_KEY:
            continue
        if _BETWEEN.fullmatch(body, key[1] + 1, start - 1):
            pieces += [view[begin:start], _placeholder(len(images)).encode()]
            images.append(Base64Image(view[start:end]))
            begin = end
    if not begin:
        return body, []
    pieces.append(view[begin:])
    return b"".join(pieces), images


def _strings(body: Body, max_values: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of every string, without its quotes."""
    n_quotes = 0
    start = body.find(_QUOTE)
    while start >= 0:
        after, end = start + 1, body.find(_QUOTE, start + 1)
        while end >= 0 and _is_escaped(body, after, end):
            n_quotes += 1
            if n_quotes > 4 * max_values:
                raise too_many_values(max_values)
            after, end = end + 1, body.find(_QUOTE, end + 1)
        if end < 0:
            return
        yield start + 1, end
        n_quotes += 2
        if n_quotes > 4 * max_values:
            raise too_many_values(max_values)
        start = body.find(_QUOTE, end + 1)


def _is_escaped(body: Body, start: int, quote: int) -> bool:
    """Return True if an odd number of backslashes precedes a quote, counted back to `start`."""
    if quote == start or body[quote - 1] != ord("\\"):
        return False
    text = body[start:quote]
    return (len(text) - len(text.rstrip(b"\\"))) % 2 == 1


def too_many_values(max_values: int) -> InvalidRequest:
    """Return the error for a body with more values."""
    return InvalidRequest(f"the request body has more than {max_values:,} JSON values, the limit of this route")


def _placeholder(number: int) -> str:
    return f"{_PLACEHOLDER} {number}"


def put_back_images(tree: Any, images: list[Base64Image]) -> Any:
    """Replace the placeholders in queries by their images."""
    by_placeholder: dict[Any, Base64Image] = {_placeholder(number): image for number, image in enumerate(images)}
    queries = tree.get("queries") if isinstance(tree, dict) else None
    for fields in [tree, *(queries if isinstance(queries, list) else [])]:
        if isinstance(fields, dict) and isinstance(fields.get("image_base64"), str):
            fields["image_base64"] = by_placeholder.get(fields["image_base64"], fields["image_base64"])
    return tree


def _unescaped(text: memoryview) -> bytes | memoryview:
    """Unescape a JSON string of base64: some encoders escape `/`, `+`, `=` and line breaks."""
    if _BACKSLASHES.search(text) is None:
        return text
    plain = bytes(text)
    for escape, meant in _ESCAPES.items():
        plain = plain.replace(escape, meant)
    return plain
