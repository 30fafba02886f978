"""Read a JSON body whose cost is bounded before it is parsed.

bytes ─cut out the images─▶ JSON beside them ─bound bytes and values─▶ parse ─put the images back─▶ fields

Only images are legitimately large: everything else has to fit into `max_json_bytes`.
"""

import json
import re
from typing import Any

from flask import Request
from pydantic_core import from_json

from search_service.api.bodies.body_limits import is_json, max_json_bytes
from search_service.api.bodies.json_images import IMAGE_KEY, Body, cut_out_images, put_back_images, too_many_values
from shared.errors import BodyTooLarge, InvalidRequest, UnsupportedBody
from shared.text.shorten import quoted, shortened

MAX_QUERY_VALUES = 10_000
"""Largest number of JSON values of one query: enough for an embedding of any encoder and a filter at its limits."""

_PIECE_BYTES = 256 * 1024
_SEPARATORS = (b",", b":")  # brackets without any only nest, and the parser bounds that
_UTF16_OR_32 = re.compile(rb"\xff\xfe|\xfe\xff|\0|.\0", re.DOTALL)


def read_json(request: Request, n_queries: int = 1) -> dict[str, Any]:
    """Read a JSON object; fields that are null count as not given.

    Args:
        request: not read yet.
        n_queries: largest number of queries; the bounds grow with it.

    Returns:
        The fields. A long `image_base64`, also in a query of a batch, is a `Base64Image`.

    Raises:
        UnsupportedBody: another content type, or a compressed body.
        BodyTooLarge: more JSON beside the images than allowed.
        InvalidRequest: not JSON, not an object, too many values, a duplicate name, or nested too deep.
    """
    require_no_encoding(request)
    if not is_json(request.mimetype):
        problem = f"has content type {shortened(request.mimetype)}" if request.mimetype else "has no content type"
        expected = "expected multipart/form-data with a file `image`, or application/json"
        raise UnsupportedBody(f"the request body {problem}; {expected}")
    return given_fields(parse_json(_body(request, max_json_bytes(n_queries)), n_queries), "the request body")


def _body(request: Request, max_bytes: int) -> bytearray:
    """Read a body; stop early if it is too large and has no image."""
    body = bytearray()
    is_checked = False
    while piece := request.stream.read(_PIECE_BYTES):
        body += piece
        if len(body) > max_bytes and not is_checked:
            if IMAGE_KEY not in body:
                raise _too_large(max_bytes)
            is_checked = True
    return body


def require_no_encoding(request: Request) -> None:
    """Reject compressed bodies.

    Raises:
        UnsupportedBody: the body has a Content-Encoding.
    """
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise UnsupportedBody(f"the request body has Content-Encoding {quoted(encoding)}; expected none")


def given_fields(value: Any, what: str) -> dict[str, Any]:
    """Return the fields of a JSON object that are not null.

    Args:
        value: parsed JSON.
        what: its name, for the message.

    Raises:
        InvalidRequest: not an object.
    """
    if not isinstance(value, dict):
        raise InvalidRequest(f"{what} is a JSON {_json_type(value)}; expected an object")
    return {name: content for name, content in value.items() if content is not None}


def parse_json(body: Body, n_queries: int = 1) -> Any:
    """Parse a request body; see `read_json`."""
    if _UTF16_OR_32.match(body):
        raise InvalidRequest("the request body is not valid JSON: it is UTF-16 or UTF-32; expected UTF-8")
    max_bytes, max_values = max_json_bytes(n_queries), MAX_QUERY_VALUES * n_queries
    rest, images = cut_out_images(body, max_values)
    if len(rest) > max_bytes:
        raise _too_large(max_bytes)
    if sum(rest.count(separator) for separator in _SEPARATORS) > 2 * max_values:
        raise too_many_values(max_values)
    try:
        tree = from_json(rest)
        json.loads(rest, object_pairs_hook=_reject_duplicates)
    except ValueError as error:
        raise InvalidRequest(f"the request body is not valid JSON: {error}") from error
    return put_back_images(tree, images) if images else tree


def _json_type(value: Any) -> str:
    names = {bool: "boolean", int: "number", float: "number", str: "string", list: "array"}
    return names.get(type(value), "null")


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"the JSON beside the images has more than {max_bytes:,} bytes, the limit of this route")


def _reject_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise InvalidRequest(f"the field {quoted(twice)} was given more than once")
    return fields
