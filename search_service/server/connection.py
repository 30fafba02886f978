"""A client's connection: requests are read completely and answered one at a time, within time limits."""

import asyncio
import io
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from functools import lru_cache
from typing import TYPE_CHECKING

import h11

from search_service.access.forwarded import client_network
from search_service.admission.request_context import RequestContext
from search_service.api.http_error import HttpError
from search_service.server.backpressure import Backpressure
from search_service.server.limits import ConnectionLimits
from search_service.server.request import MAX_HEAD_BYTES, Request, RequestHead
from search_service.server.response import Response
from shared.errors import ParecidoError, SlowClient
from shared.text.shorten import shortened

if TYPE_CHECKING:
    from search_service.server.gateway import Gateway  # imports prometheus_client, which must follow the fork

FIRST_BYTE_TIMEOUT_S = 5.0
"""A new connection has to send something within this time."""
KEEP_ALIVE_S = 75.0
"""An idle connection is kept this long: proxies keep theirs for a minute, and they should close first."""
HEAD_TIMEOUT_S = 10.0
BODY_TIMEOUT_S = 60.0
STALL_TIMEOUT_S = 20.0
"""Each block of a body or a response has to get through within this time."""
LINGER_S = 2.0
BLOCK_BYTES = 64 * 1024
_INCOMPLETE = (h11.IDLE, h11.SEND_BODY, h11.ERROR)
_log = logging.getLogger(__name__)
_UNPACED_BYTES = 256 * 1024
_FREE_CHUNKS, _MIN_CHUNK_BYTES = 1000, 1024
_MAX_REASON_CHARS = 150


class Connection:
    """Served by one task of the event loop.

    Attributes:
        network: of the peer: its IPv4 address, or its IPv6 network.
        is_busy: True while a complete request is processed: then it is not evicted.
        progress_s: time of the last progress, by `time.monotonic()`.
        held_bytes: of a request or a response, counted by `ConnectionLimits`.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        gateway: "Gateway",
        limits: ConnectionLimits,
        backpressure: Backpressure,
    ) -> None:
        """Prepare; call it within the task that calls `serve`."""
        self._address: str = (writer.get_extra_info("peername") or ("",))[0]  # empty if the client is gone already
        self.network = client_network(self._address)
        self.is_busy, self.progress_s, self.held_bytes = False, time.monotonic(), 0
        self._reader, self._writer, self._gateway, self._limits = reader, writer, gateway, limits
        self._backpressure = backpressure
        self._http = h11.Connection(h11.SERVER, MAX_HEAD_BYTES)
        self._head: RequestHead | None = None
        self._unread = b""
        self._task = asyncio.current_task()
        self._evicted_for: ParecidoError | None = None
        writer.transport.set_write_buffer_limits(high=0)  # so that `drain` waits for all bytes

    @property
    def is_idle(self) -> bool:
        """True between two requests."""
        return not (self.is_busy or self.held_bytes or self._head)

    def evict(self, error: ParecidoError | None = None) -> None:
        """End the connection in favour of others, after an error response if there is an error."""
        self._evicted_for, self.is_busy = error, True
        if self._task is not None:
            self._task.cancel()

    async def serve(self) -> None:
        """Serve until one side closes the connection."""
        try:
            await self._exchange_all()
            if self._evicted_for is not None:
                with suppress(Exception):
                    await self._send(self._gateway.error_response(self._evicted_for, self._head))
                    await self._linger()
        finally:
            self._limits.remove(self)
            self._writer.transport.abort()

    async def _exchange_all(self) -> None:
        """Serve until one side ends it; an evicted request is freed when this returns."""
        timeout_s = FIRST_BYTE_TIMEOUT_S
        try:
            while await self._exchange(timeout_s):
                timeout_s = KEEP_ALIVE_S
        except (OSError, h11.RemoteProtocolError, SlowClient, asyncio.CancelledError):
            pass  # the client disconnected, does not read its response, or was evicted
        except Exception:
            _log.exception("a connection ended with an internal error")

    async def _exchange(self, timeout_s: float) -> bool:
        """Read a request and respond; return False after the last one."""
        self._head, self.is_busy, self.progress_s = None, False, time.monotonic()
        self._http = h11.Connection(h11.SERVER, MAX_HEAD_BYTES)
        response = await self._response(timeout_s)
        if response is None:
            return False
        self.is_busy = False
        self._limits.release(self)  # nothing refers to the request any more
        if response.status >= 400:
            await self._backpressure.before_error()
        await self._send(response)
        self._unread = self._http.trailing_data[0]
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            return True
        if self._unread or self._http.their_state in _INCOMPLETE:
            await self._linger()
        return False

    async def _response(self, timeout_s: float) -> Response | None:
        """Read a request, and return its response; None if no request comes."""
        try:
            if not await self._receive_first(timeout_s):
                return None
            request = await self._request()
            self.is_busy = True
            return await self._gateway.respond(request)
        except ParecidoError as error:
            return self._gateway.error_response(error, self._head)
        except h11.RemoteProtocolError as error:
            message = shortened(str(error), _MAX_REASON_CHARS)  # it may repeat a line of the request
            return self._gateway.error_response(HttpError(error.error_status_hint, message), self._head)

    async def _receive_first(self, timeout_s: float) -> bool:
        """Wait for the first bytes of a request; empty lines before it are legal."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not (first := self._unread.lstrip(b"\r\n")):
                    self._unread = await self._reader.read(BLOCK_BYTES)
                    if not self._unread:
                        return False
                self._http.receive_data(first)
                return True
        return False

    async def _request(self) -> Request:
        event: object = self._http.next_event()  # mostly the head is complete
        if event is h11.NEED_DATA:
            async with _within(HEAD_TIMEOUT_S, "the head of the request was"):
                event = await self._event()
        assert isinstance(event, h11.Request)
        self._head = head = self._gateway.read_head(event)
        head.check()
        max_bytes = self._gateway.max_body_bytes(head)
        if self._http.they_are_waiting_for_100_continue:
            self._writer.write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        async with _within(BODY_TIMEOUT_S, "the body of the request was") as deadline:
            body = await self._body(head, max_bytes, deadline)
        return Request(head, body, self._address, self.network, RequestContext(is_disconnected=self._is_disconnected))

    async def _body(self, head: RequestHead, max_bytes: int, deadline: asyncio.Timeout) -> io.BytesIO:
        body, n_chunks, next_block = io.BytesIO(), 0, 0
        deadline_s = deadline.when() or 0.0
        while isinstance(event := await self._event(), h11.Data):
            body.write(event.data)
            n_chunks += event.chunk_start
            if body.tell() > max_bytes:
                raise self._gateway.too_large(head, max_bytes)
            if n_chunks > _FREE_CHUNKS + body.tell() // _MIN_CHUNK_BYTES:
                raise HttpError(400, "the body consists of too many small chunks")
            self._limits.hold(self, len(event.data))
            if body.tell() > _UNPACED_BYTES:
                await self._backpressure.before_block()
            if body.tell() >= next_block:
                next_block, self.progress_s = body.tell() + BLOCK_BYTES, time.monotonic()
                deadline.reschedule(min(deadline_s, asyncio.get_running_loop().time() + STALL_TIMEOUT_S))
        return io.BytesIO(body.getvalue())  # `getvalue` of this one shares its bytes

    async def _event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(BLOCK_BYTES))
        return event

    async def _send(self, response: Response) -> None:
        is_last = self._http.their_state in _INCOMPLETE or self._limits.is_draining
        headers = [*response.headers, ("Date", _date(int(time.time()))), ("Server", "parecido")]
        headers += [("Connection", "close")] if is_last else []
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        try:
            data = self._http.send(h11.Response(status_code=response.status, headers=encoded)) or b""
            block = b"" if self._head is not None and self._head.method == "HEAD" else response.body
            while block:
                data += self._http.send(h11.Data(data=block)) or b""
                block = await self._gateway.read_more(response)
                if block:
                    await self._write(data)
                    data = b""
            await self._write(data + (self._http.send(h11.EndOfMessage()) or b""))
        finally:
            response.close()

    async def _write(self, data: bytes) -> None:
        if len(data) > BLOCK_BYTES:
            self._limits.hold(self, len(data))
        for begin in range(0, len(data), BLOCK_BYTES):
            self.progress_s = time.monotonic()
            self._writer.write(data[begin : begin + BLOCK_BYTES])
            if self._writer.transport.get_write_buffer_size():  # the client does not keep up
                async with _within(STALL_TIMEOUT_S, "the response was"):
                    await self._writer.drain()
        self._limits.release(self)

    async def _linger(self) -> None:
        """Let the client read its response: closed with unread data, the kernel would reset the connection."""
        with suppress(OSError, TimeoutError):
            self._writer.write_eof()
            async with asyncio.timeout(LINGER_S):
                while await self._reader.read(BLOCK_BYTES):
                    pass

    def _is_disconnected(self) -> bool:
        """Return True if the client has closed the connection, or only its sending side: that looks the same."""
        return self._reader.at_eof() or self._writer.transport.is_closing()


@lru_cache(maxsize=1)
def _date(now_s: int) -> str:
    return formatdate(now_s, usegmt=True)


@asynccontextmanager
async def _within(seconds: float, what: str) -> AsyncIterator[asyncio.Timeout]:
    try:
        async with asyncio.timeout(seconds) as deadline:
            yield deadline
    except TimeoutError:
        raise SlowClient(f"{what} not transferred in time") from None
