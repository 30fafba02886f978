"""A whole request, and the answer to it, between h11 and a WSGI application."""

import io
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import h11
from werkzeug.wsgi import FileWrapper

from search_service.admission.request_context import RequestContext
from search_service.api.http_error import HttpError

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Any]
MAX_TARGET_BYTES = 24 * 1024
"""An item id may have 2,000 characters of 4 bytes, each three times as long when it is percent-encoded."""
MAX_HEADERS = 100
MAX_HEAD_BYTES = 32 * 1024
_BLOCK_BYTES = 256 * 1024
_NOT_HANDED_ON = frozenset(("content-length", "transfer-encoding", "expect"))  # the body is whole, however it came


def check_head(request: h11.Request) -> None:
    """Check what h11 leaves to its context.

    Raises:
        HttpError: 400, 414, 417, 431, 501 or 505.
    """
    names = [name for name, _ in request.headers]
    if request.http_version not in (b"1.0", b"1.1"):
        raise HttpError(505, "only HTTP/1.0 and HTTP/1.1 are supported")
    if len(request.target) > MAX_TARGET_BYTES:
        raise HttpError(414, f"the request target has over {MAX_TARGET_BYTES:,} bytes")
    n_bytes = sum(len(name) + len(value) for name, value in request.headers)
    if len(names) > MAX_HEADERS or n_bytes > MAX_HEAD_BYTES:
        found = f"{len(names)} headers of {n_bytes:,} bytes"
        raise HttpError(431, f"the request has {found}; at most {MAX_HEADERS} of {MAX_HEAD_BYTES:,} are allowed")
    # Two lengths, or one that an older proxy does not understand, are how requests are smuggled past proxies.
    if b"transfer-encoding" in names and (b"content-length" in names or request.http_version == b"1.0"):
        raise HttpError(400, "Transfer-Encoding goes neither with Content-Length nor with HTTP/1.0")
    if any(name == b"expect" and value.lower() != b"100-continue" for name, value in request.headers):
        raise HttpError(417, "the only supported expectation is 100-continue")
    if request.method in (b"CONNECT", b"TRACE") or not request.method.isupper():
        raise HttpError(501, "the method is not implemented; methods are written in upper case")
    origin_form(request.target)


@dataclass(frozen=True)
class Request:
    """A request that is there as a whole.

    Attributes:
        head: its first line and headers, checked.
        body: at its beginning.
        address: of the other end of the connection, without the port.
        network: what its caller has to itself, see `client_network`.
        context: its arrival, and whether its client still waits.
    """

    head: h11.Request
    body: io.BytesIO
    address: str
    network: str
    context: RequestContext

    def environ(self) -> dict[str, Any]:
        """As WSGI has it (PEP 3333), with path and query as they came in `RAW_URI`, and `parecido.request_context`."""
        target = origin_form(self.head.target)
        path, _, query = target.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": self.head.method.decode("latin-1"),
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "RAW_URI": target,
            "REQUEST_URI": target,
            "SERVER_PROTOCOL": f"HTTP/{self.head.http_version.decode('latin-1')}",
            "SERVER_NAME": "localhost",  # clients name the host that they mean
            "SERVER_PORT": "80",
            "REMOTE_ADDR": self.address,
            "CONTENT_LENGTH": str(self.body.getbuffer().nbytes),
            "parecido.request_context": self.context,
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": self.body,
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
            "wsgi.file_wrapper": lambda file, _size=0: FileWrapper(file, _BLOCK_BYTES),
        }
        for raw_name, raw_value in self.head.headers:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            if "_" in name or name in _NOT_HANDED_ON:  # with an underscore it would pass for another header
                continue
            key = "CONTENT_TYPE" if name == "content-type" else f"HTTP_{name.replace('-', '_').upper()}"
            environ[key] = f"{environ[key]},{value}" if key in environ else value
        return environ


def origin_form(target: bytes) -> str:
    """Path and query of a request target, also of one in absolute form, as clients send it to proxies.

    Raises:
        HttpError: it is neither a path nor an http URL.
    """
    text = target.decode("latin-1")
    if text.startswith("/") or text == "*":
        return text
    try:
        parts = urlsplit(text)
    except ValueError:
        parts = urlsplit("")
    if parts.scheme.lower() not in ("http", "https") or not parts.netloc:
        raise HttpError(400, "the request target is neither a path nor an http URL")
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


@dataclass(frozen=True)
class Answer:
    """An answer; of a long one the rest is made while it is sent.

    Attributes:
        status: of HTTP.
        headers: names and values.
        body: its first bytes, mostly all.
        rest: gives the bytes that follow each time, `b""` at the end.
        close: to be called when nothing more is wanted.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    rest: Callable[[], bytes] = bytes
    close: Callable[[], object] = bytes

    @classmethod
    def of(cls, app: WsgiApp, environ: dict[str, Any]) -> "Answer":
        """Call a WSGI application, and wait for the answer's first bytes."""
        begun: list[Any] = []
        result = app(environ, lambda status, headers, exc_info=None: begun.extend((status, headers)))
        blocks = _blocks(iter(result))
        body = next(blocks)
        rest = bytes if len(body) < _BLOCK_BYTES else lambda: next(blocks, b"")
        return cls(int(begun[0].split()[0]), begun[1], body, rest, getattr(result, "close", bytes))


def _blocks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in blocks for which a turn of a thread is worth it."""
    block: list[bytes] = []
    n_bytes = 0
    for piece in pieces:
        block.append(piece)
        n_bytes += len(piece)
        if n_bytes >= _BLOCK_BYTES:
            yield b"".join(block)
            block, n_bytes = [], 0
    yield b"".join(block)
