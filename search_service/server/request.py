"""A complete HTTP request, from h11 to a WSGI environment."""

import io
import sys
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, unquote_to_bytes, urlsplit

import h11
from werkzeug.wsgi import FileWrapper

from search_service.access.forwarded import forwarded_prefix, strip_prefix
from search_service.admission.request_context import RequestContext
from search_service.api.http_error import HttpError

MAX_TARGET_BYTES = 24 * 1024
"""An item id may have 2,000 characters of 4 bytes, each three times as long when it is percent-encoded."""
MAX_HEADERS = 100
MAX_HEAD_BYTES = 32 * 1024
_BLOCK_BYTES = 256 * 1024
_NOT_PASSED_ON = frozenset(("content-length", "transfer-encoding", "expect"))  # the body is complete


@dataclass(frozen=True)
class RequestHead:
    """The request line and the headers.

    Attributes:
        raw: as h11 parsed them.
        method: of HTTP.
        path: decoded, without the prefix of proxies and the query string; empty if the request target is invalid.
        content_type: with its parameters; empty if there is none.
    """

    raw: h11.Request
    method: str
    path: str
    content_type: str

    @classmethod
    def of(cls, raw: h11.Request, trusted_proxies: int, prefix: str) -> "RequestHead":
        """Work out the route of a request.

        Args:
            raw: from h11.
            trusted_proxies: number of proxies whose `X-Forwarded-Prefix` is trusted.
            prefix: path below which the service is reached, if those proxies send none.
        """
        try:
            path = unquote(origin_form(raw.target).partition("?")[0])
        except HttpError:  # `check` rejects it
            path = ""
        if trusted_proxies:
            prefix = forwarded_prefix(_header(raw, b"x-forwarded-prefix"), trusted_proxies) or prefix
        return cls(raw, raw.method.decode("latin-1"), strip_prefix(path, prefix), _header(raw, b"content-type"))

    def header(self, name: bytes) -> str:
        """Return the values of a header, joined by commas; empty if there is none. `name` is in lower case."""
        return _header(self.raw, name)

    def check(self) -> None:
        """Check what h11 leaves to its user.

        Raises:
            HttpError: 400, 414, 417, 431, 501 or 505.
        """
        raw = self.raw
        names = [name for name, _ in raw.headers]
        if raw.http_version not in (b"1.0", b"1.1"):
            raise HttpError(505, "only HTTP/1.0 and HTTP/1.1 are supported")
        if len(raw.target) > MAX_TARGET_BYTES:
            raise HttpError(414, f"the request target has more than {MAX_TARGET_BYTES:,} bytes")
        n_bytes = sum(len(name) + len(value) for name, value in raw.headers)
        if len(names) > MAX_HEADERS or n_bytes > MAX_HEAD_BYTES:
            limits = f"at most {MAX_HEADERS} of {MAX_HEAD_BYTES:,} bytes are allowed"
            raise HttpError(431, f"the request has {len(names)} headers of {n_bytes:,} bytes; {limits}")
        # Two lengths, or one that an older proxy does not understand, are how requests are smuggled past proxies.
        if b"transfer-encoding" in names and (b"content-length" in names or raw.http_version == b"1.0"):
            raise HttpError(400, "Transfer-Encoding is not allowed with Content-Length or with HTTP/1.0")
        if any(name == b"expect" and value.lower() != b"100-continue" for name, value in raw.headers):
            raise HttpError(417, "the only supported expectation is 100-continue")
        if raw.method in (b"CONNECT", b"TRACE") or not raw.method.isupper():
            raise HttpError(501, "the method is not implemented; methods are in upper case")
        origin_form(raw.target)


@dataclass(frozen=True)
class Request:
    """A complete request.

    Attributes:
        head: checked.
        body: at its beginning.
        address: of the peer, without the port.
        network: of the peer; see `client_network`.
        context: its arrival, and whether its client still waits.
    """

    head: RequestHead
    body: io.BytesIO
    address: str
    network: str
    context: RequestContext

    def environ(self) -> dict[str, Any]:
        """Return the WSGI environment (PEP 3333), with the raw target in `RAW_URI` and the request context."""
        raw = self.head.raw
        target = origin_form(raw.target)
        path, _, query = target.partition("?")
        environ: dict[str, Any] = {
            "REQUEST_METHOD": self.head.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
            "QUERY_STRING": query,
            "RAW_URI": target,
            "REQUEST_URI": target,
            "SERVER_PROTOCOL": f"HTTP/{raw.http_version.decode('latin-1')}",
            "SERVER_NAME": "localhost",  # clients send the host that they mean
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
        for raw_name, raw_value in raw.headers:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            if "_" in name or name in _NOT_PASSED_ON:  # with an underscore it would pass for another header
                continue
            key = "CONTENT_TYPE" if name == "content-type" else f"HTTP_{name.replace('-', '_').upper()}"
            environ[key] = f"{environ[key]},{value}" if key in environ else value
        return environ


def origin_form(target: bytes) -> str:
    """Return path and query of a request target, also of one in absolute form, as clients send it to proxies.

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


def _header(raw: h11.Request, name: bytes) -> str:
    return ", ".join(value.decode("latin-1") for key, value in raw.headers if key == name)
