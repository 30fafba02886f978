"""The application behind every compared HTTP server, as WSGI and as ASGI, using the standard library alone.

Each request is answered by a thread, as in a service with synchronous work. What ASGI leaves to the application is
implemented here: deadlines for body and response, and an error for an unknown `Expect`.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

_LARGE = json.dumps({"text": "a" * 5_000_000}).encode()
_BODY_S = 10.0
_SEND_S = 10.0
_BLOCK_BYTES = 64 * 1024
_STATUS = {200: "200 OK", 408: "408 Request Timeout", 417: "417 Expectation Failed"}


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer as WSGI (PEP 3333)."""
    length = environ.get("CONTENT_LENGTH")
    if length or not environ.get("wsgi.input_terminated"):
        body = environ["wsgi.input"].read(int(length or 0))
    else:  # the server detects the end of a chunked body
        body = environ["wsgi.input"].read()
    status, content = _answer(environ["PATH_INFO"], environ.get("HTTP_EXPECT", ""), len(body))
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
    start_response(_STATUS[status], headers)
    return [content]


async def asgi(scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[..., Any]) -> None:
    """Answer as ASGI 3; without lifespan events."""
    if scope["type"] != "http":
        raise NotImplementedError
    n_bytes, more = 0, True
    try:
        async with asyncio.timeout(_BODY_S):
            while more:
                event = await receive()
                if event["type"] == "http.disconnect":
                    return
                n_bytes += len(event.get("body", b""))
                more = event.get("more_body", False)
        expect = dict(scope["headers"]).get(b"expect", b"").decode()
        status, content = await asyncio.to_thread(_answer, scope["path"], expect, n_bytes)
    except TimeoutError:
        status, content = 408, b'{"error":"request_timeout"}'
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(content))]
    headers += [(b"connection", b"close")] if status == 408 else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    async with asyncio.timeout(_SEND_S):  # each block waits until the one before is taken, where the server tells
        for end in range(_BLOCK_BYTES, len(content) + _BLOCK_BYTES, _BLOCK_BYTES):
            block = content[end - _BLOCK_BYTES : end]
            await send({"type": "http.response.body", "body": block, "more_body": end < len(content)})


def _answer(path: str, expect: str, n_bytes: int) -> tuple[int, bytes]:
    """Return status and content."""
    if expect.lower() not in ("", "100-continue"):
        return 417, b'{"error":"expectation_failed"}'
    return 200, _LARGE if path == "/large" else json.dumps({"status": "ok", "n_bytes": n_bytes}).encode()
