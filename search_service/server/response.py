"""An HTTP response, made by a WSGI application; a long one is produced while it is sent."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

WsgiApp = Callable[[dict[str, Any], Callable[..., Any]], Any]
_BLOCK_BYTES = 256 * 1024


@dataclass(frozen=True)
class Response:
    """A response.

    Attributes:
        status: of HTTP.
        headers: names and values.
        body: its first bytes, mostly all.
        read_more: returns the bytes that follow each time, `b""` at the end; None if there are none.
        close: to be called at the end.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    read_more: Callable[[], bytes] | None = None
    close: Callable[[], object] = bytes

    @classmethod
    def from_app(cls, app: WsgiApp, environ: dict[str, Any]) -> "Response":
        """Call a WSGI application, and wait for the first bytes of its response."""
        started: list[Any] = []
        result = app(environ, lambda status, headers, exc_info=None: started.extend((status, headers)))
        blocks = _blocks(iter(result))
        body = next(blocks)
        read_more = None if len(body) < _BLOCK_BYTES else lambda: next(blocks, b"")
        return cls(int(started[0].split()[0]), started[1], body, read_more, getattr(result, "close", bytes))


def _blocks(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Join pieces to blocks that are worth a thread's turn each."""
    block: list[bytes] = []
    n_bytes = 0
    for piece in pieces:
        block.append(piece)
        n_bytes += len(piece)
        if n_bytes >= _BLOCK_BYTES:
            yield b"".join(block)
            block, n_bytes = [], 0
    yield b"".join(block)
