"""An error as the application would answer it, in bytes, for a request that never gets there."""

import json
import re
import uuid
from collections.abc import Mapping
from http import HTTPStatus

from search_service.response_headers import ALWAYS
from shared.errors import Overloaded, ParecidoError

_REQUEST_ID = re.compile(rb"\r\nx-request-id:[ \t]*([A-Za-z0-9._-]{1,64})[ \t]*(?=\r\n)", re.IGNORECASE)


def bare_answer(
    status: int, error: ParecidoError, request: bytes, is_kept: bool = False, others: Mapping[str, str] | None = None
) -> bytes:
    """Write it.

    Args:
        status: of HTTP.
        error: what was wrong.
        request: what there is of it, from its first line on.
        is_kept: whether the connection is kept.
        others: further headers.
    """
    given = _REQUEST_ID.search(request, 0, request.find(b"\r\n\r\n") + 2)
    request_id = given[1].decode() if given else uuid.uuid4().hex
    body = json.dumps({"error": {"code": error.code, "message": str(error), "request_id": request_id}}).encode()
    headers = {
        "Server": "parecido",
        "Connection": "keep-alive" if is_kept else "close",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
        "X-Request-ID": request_id,
        **({"Retry-After": str(error.retry_after_s)} if isinstance(error, Overloaded) else {}),
        **ALWAYS,
        **(others or {}),
    }
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {text}" for name, text in headers.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
