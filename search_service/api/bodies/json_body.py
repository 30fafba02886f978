"""Read a JSON body whose cost is bounded before it becomes a tree of Python objects.

bytes ─cut out the images─▶ JSON beside them ─bound bytes and values─▶ tree ─put images back─▶ fields

Only images are legitimately large. They are found by walking over the strings of the body, and are decoded where they
lie, without a copy as text; everything else has to fit into `max_json_bytes`.
"""

import json
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

from flask import Request
from pydantic_core import from_json

from search_service.api.bodies.base64_image import decode_base64
from search_service.api.bodies.body_limits import is_json, max_json_bytes
from shared.errors import BodyTooLarge, InvalidRequest, UnsupportedBody
from shared.text.shorten import quoted, shortened

MAX_QUERY_VALUES = 10_000
"""Values that the JSON of one query may have: an embedding of any encoder, and a filter at its limits."""

Body: TypeAlias = bytes | bytearray

_PIECE_BYTES = 256 * 1024
_LONG_TEXT = 4096
_PLACEHOLDER = secrets.token_hex(8)  # no caller can write it
_QUOTE = b'"'
_IMAGE_KEY = b"image_base64"
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
_SEPARATORS = (b",", b":")  # brackets without any only nest, and the parser bounds that
_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_OR_32 = re.compile(rb"\xff\xfe|\xfe\xff|\0|.\0", re.DOTALL)


@dataclass(frozen=True)
class Base64Image:
    """An image as text, not decoded yet.

    Attributes:
        text: between the quotes of JSON.
    """

    text: memoryview = field(repr=False)

    def decode(self) -> bytes:
        """Decode it.

        Raises:
            InvalidRequest: it is not base64.
        """
        return decode_base64(_unescaped(self.text))


def read_json(request: Request, n_queries: int = 1) -> dict[str, Any]:
    """Read a JSON object; fields that are null count as not given.

    Args:
        request: not read yet.
        n_queries: how many queries it may have; the bounds grow with it.

    Returns:
        The fields. A long `image_base64`, also of one of several queries, is a `Base64Image`.

    Raises:
        UnsupportedBody: another content type, or a compressed body.
        BodyTooLarge: more JSON beside the images than allowed.
        InvalidRequest: not JSON, not an object, too many values, a name twice, or nested too deep.
    """
    require_no_encoding(request)
    if not is_json(request.mimetype):
        found = shortened(request.mimetype) or "without a content type"
        wanted = "wanted multipart/form-data with a file `image`, or application/json"
        raise UnsupportedBody(f"the body is {found}; {wanted}")
    return given_fields(parse_json(_body(request, max_json_bytes(n_queries)), n_queries), "the body")


def _body(request: Request, max_bytes: int) -> bytearray:
    """Read a body, but no more of it than it takes to see that it is too large and brings no image."""
    body = bytearray()
    is_checked = False
    while piece := request.stream.read(_PIECE_BYTES):
        body += piece
        if len(body) > max_bytes and not is_checked:
            if _IMAGE_KEY not in body:
                raise _too_large(max_bytes)
            is_checked = True
    return body


def require_no_encoding(request: Request) -> None:
    """Refuse compressed bodies.

    Raises:
        UnsupportedBody: the body has a Content-Encoding.
    """
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedBody(f"the body has Content-Encoding {quoted(encoding)}; expected a body without one")


def given_fields(value: Any, what: str) -> dict[str, Any]:
    """The fields of a JSON object that are not null.

    Raises:
        InvalidRequest: it is no object.
    """
    if not isinstance(value, dict):
        raise InvalidRequest(f"{what} is a JSON {type(value).__name__}; wanted an object")
    return {name: one for name, one in value.items() if one is not None}


def parse_json(body: Body, n_queries: int = 1) -> Any:
    """Parse a body; see `read_json`."""
    if _UTF16_OR_32.match(body):
        raise InvalidRequest("the body is no JSON: it is UTF-16 or UTF-32; expected UTF-8")
    max_bytes, max_values = max_json_bytes(n_queries), MAX_QUERY_VALUES * n_queries
    rest, images = _without_images(body, max_values)
    if len(rest) > max_bytes:
        raise _too_large(max_bytes)
    if sum(rest.count(separator) for separator in _SEPARATORS) > 2 * max_values:
        raise _too_many(max_values)
    try:
        tree = from_json(rest)
        json.loads(rest, object_pairs_hook=_refuse_twice)
    except ValueError as error:
        raise InvalidRequest(f"the body is no JSON: {error}") from error
    return _with_images(tree, images) if images else tree


def _without_images(body: Body, max_values: int) -> tuple[Body, list[Base64Image]]:
    """Cut long images out of a body.

    Returns:
        The body, with the number of the image in place of its text, and the images.

    Raises:
        InvalidRequest: the body has more strings than so many values.
    """
    view = memoryview(body)
    begin = len(_UTF8_BOM) if body.startswith(_UTF8_BOM) else 0
    pieces: list[bytes | memoryview] = []
    images: list[Base64Image] = []
    for key, text in pairwise(_strings(body, max_values)):
        start, end = text
        if end - start < _LONG_TEXT or body[slice(*key)] != _IMAGE_KEY:
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
    """Start and end of every string, without its quotes."""
    n_quotes = 0
    start = body.find(_QUOTE)
    while start >= 0:
        after, end = start + 1, body.find(_QUOTE, start + 1)
        while end >= 0 and _is_escaped(body, after, end):
            n_quotes += 1
            if n_quotes > 4 * max_values:
                raise _too_many(max_values)
            after, end = end + 1, body.find(_QUOTE, end + 1)
        if end < 0:
            return
        yield start + 1, end
        n_quotes += 2
        if n_quotes > 4 * max_values:
            raise _too_many(max_values)
        start = body.find(_QUOTE, end + 1)


def _is_escaped(body: Body, start: int, quote: int) -> bool:
    """Whether an odd number of backslashes stands before a quote; none before `start` counts."""
    if quote == start or body[quote - 1] != ord("\\"):
        return False
    text = body[start:quote]
    return (len(text) - len(text.rstrip(b"\\"))) % 2 == 1


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(
        f"the JSON beside the images has more than {max_bytes:,} bytes, the most that this route accepts"
    )


def _too_many(max_values: int) -> InvalidRequest:
    return InvalidRequest(f"the body has more than {max_values:,} JSON values, the most that this route accepts")


def _placeholder(number: int) -> str:
    return f"{_PLACEHOLDER} {number}"


def _with_images(tree: Any, images: list[Base64Image]) -> Any:
    """Put images back where a query has one."""
    by_placeholder: dict[Any, Base64Image] = {_placeholder(number): image for number, image in enumerate(images)}
    queries = tree.get("queries") if isinstance(tree, dict) else None
    for fields in [tree, *(queries if isinstance(queries, list) else [])]:
        if isinstance(fields, dict) and isinstance(fields.get("image_base64"), str):
            fields["image_base64"] = by_placeholder.get(fields["image_base64"], fields["image_base64"])
    return tree


def _refuse_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise InvalidRequest(f"the field {quoted(twice)} was given more than once")
    return fields


def _unescaped(text: memoryview) -> bytes | memoryview:
    """Base64 as JSON means it. Some encoders escape `/`, `+`, `=` and line breaks; no other escape is base64."""
    if _BACKSLASHES.search(text) is None:
        return text
    plain = bytes(text)
    for escape, meant in _ESCAPES.items():
        plain = plain.replace(escape, meant)
    return plain
