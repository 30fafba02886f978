"""One client's connection: requests are read as a whole, answered and sent one at a time, each within its time."""

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
from search_service.server.message import MAX_HEAD_BYTES, Answer, Request, check_head
from shared.errors import ParecidoError, SlowClient
from shared.text.shorten import shortened

if TYPE_CHECKING:
    from search_service.server.gateway import Gateway  # it needs prometheus_client, which wants a forked process

SILENT_S = 5.0
"""A new connection has to send something within this time."""
KEPT_S = 75.0
"""An idle one is kept so long: proxies keep theirs for a minute, and it is they who should close."""
HEAD_S = 10.0
BODY_S = 60.0
STALLED_S = 20.0
"""A body, or an answer, has to go on by a block within this time."""
LINGER_S = 2.0
BLOCK_BYTES = 64 * 1024
_NOT_WHOLE = (h11.IDLE, h11.SEND_BODY, h11.ERROR)
_log = logging.getLogger(__name__)
_FREE_BYTES = 256 * 1024
_FREE_CHUNKS, _BYTES_A_CHUNK = 1000, 1024
_MAX_REASON_CHARS = 150


class Connection:
    """Served by one task of the event loop.

    Attributes:
        network: of the other end: its IPv4 address, or its IPv6 network.
        is_busy: whether a whole request is being answered: then it is not given up for others.
        progress_s: when it began to wait, or went on by a block, by `time.monotonic()`.
        held_bytes: of a request or an answer, counted by `ConnectionLimits`.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        gateway: "Gateway",
        limits: ConnectionLimits,
        pace: Backpressure,
    ) -> None:
        """Serve nothing yet; made within the task that serves it."""
        self._address: str = (writer.get_extra_info("peername") or ("",))[0]  # none where the client is gone already
        self.network = client_network(self._address)
        self.is_busy, self.progress_s, self.held_bytes = False, time.monotonic(), 0
        self._reader, self._writer, self._gateway, self._limits, self._pace = reader, writer, gateway, limits, pace
        self._http = h11.Connection(h11.SERVER, MAX_HEAD_BYTES)
        self._head: h11.Request | None = None
        self._unread = b""
        self._task = asyncio.current_task()
        self._evicted_for: ParecidoError | None = None
        writer.transport.set_write_buffer_limits(high=0)  # what is not taken is seen to wait

    @property
    def is_idle(self) -> bool:
        """Whether it waits between two requests."""
        return not (self.is_busy or self.held_bytes or self._head)

    def evict(self, reason: ParecidoError | None = None) -> None:
        """End it for the sake of others, with a reason or without a word."""
        self._evicted_for, self.is_busy = reason, True
        if self._task is not None:
            self._task.cancel()

    async def serve(self) -> None:
        """Serve until one side closes it."""
        try:
            await self._exchanges()
            if self._evicted_for is not None:
                with suppress(Exception):
                    await self._send(self._gateway.refusal(self._evicted_for, self._head))
                    await self._linger()
        finally:
            self._limits.remove(self)
            self._writer.transport.abort()

    async def _exchanges(self) -> None:
        """Serve until one side ends it; what was read of a request that was given up is freed by then."""
        wait_s = SILENT_S
        try:
            while await self._exchange(wait_s):
                wait_s = KEPT_S
        except (OSError, h11.RemoteProtocolError, SlowClient, asyncio.CancelledError):
            pass  # the client is gone, takes its answer no more, or was given up
        except Exception:
            _log.exception("a connection has ended by a fault of the service's own")

    async def _exchange(self, wait_s: float) -> bool:
        """Read a request and answer it; False where it was the last one."""
        self._head, self.is_busy, self.progress_s = None, False, time.monotonic()
        self._http = h11.Connection(h11.SERVER, MAX_HEAD_BYTES)
        answer = await self._answer(wait_s)
        if answer is None:
            return False
        self.is_busy = False
        self._limits.release(self)  # nobody has the request any more
        if answer.status >= 400:
            await self._pace.before_error()
        await self._send(answer)
        self._unread = self._http.trailing_data[0]
        if self._http.our_state is h11.DONE and self._http.their_state is h11.DONE:
            return True
        if self._unread or self._http.their_state in _NOT_WHOLE:
            await self._linger()
        return False

    async def _answer(self, wait_s: float) -> Answer | None:
        """Read a request, and have it answered or refused; None where none comes."""
        try:
            if not await self._begins(wait_s):
                return None
            request = await self._request()
            self.is_busy = True
            return await self._gateway.answer(request)
        except ParecidoError as error:
            return self._gateway.refusal(error, self._head)
        except h11.RemoteProtocolError as error:
            message = shortened(str(error), _MAX_REASON_CHARS)  # it may repeat a line of the request
            return self._gateway.refusal(HttpError(error.error_status_hint, message), self._head)

    async def _begins(self, wait_s: float) -> bool:
        """Wait for the first bytes of a request; empty lines in front are legal."""
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                while not (begin := self._unread.lstrip(b"\r\n")):
                    self._unread = await self._reader.read(BLOCK_BYTES)
                    if not self._unread:
                        return False
                self._http.receive_data(begin)
                return True
        return False

    async def _request(self) -> Request:
        head: object = self._http.next_event()  # mostly it has come at once
        if head is h11.NEED_DATA:
            async with _within(HEAD_S, "the head of the request"):
                head = await self._event()
        assert isinstance(head, h11.Request)
        self._head = head
        check_head(head)
        max_bytes = self._gateway.max_body_bytes(head)
        if self._http.they_are_waiting_for_100_continue:
            self._writer.write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
        async with _within(BODY_S, "the body of the request") as deadline:
            body = await self._body(head, max_bytes, deadline)
        return Request(head, body, self._address, self.network, RequestContext(is_disconnected=self._is_disconnected))

    async def _body(self, head: h11.Request, max_bytes: int, deadline: asyncio.Timeout) -> io.BytesIO:
        body, n_chunks, next_block = io.BytesIO(), 0, 0
        until_s = deadline.when() or 0.0
        while isinstance(event := await self._event(), h11.Data):
            body.write(event.data)
            n_chunks += event.chunk_start
            if body.tell() > max_bytes:
                raise self._gateway.too_large(head, max_bytes)
            if n_chunks > _FREE_CHUNKS + body.tell() // _BYTES_A_CHUNK:
                raise HttpError(400, "the body consists of too many small chunks")
            self._limits.hold(self, len(event.data))
            if body.tell() > _FREE_BYTES:
                await self._pace.before_block()
            if body.tell() >= next_block:
                next_block, self.progress_s = body.tell() + BLOCK_BYTES, time.monotonic()
                deadline.reschedule(min(until_s, asyncio.get_running_loop().time() + STALLED_S))
        return io.BytesIO(body.getvalue())  # shares the bytes, as all do that read it as a whole

    async def _event(self) -> object:
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(BLOCK_BYTES))
        return event

    async def _send(self, answer: Answer) -> None:
        is_last = self._http.their_state in _NOT_WHOLE or self._limits.is_draining
        headers = [*answer.headers, ("Date", _date(int(time.time()))), ("Server", "parecido")]
        headers += [("Connection", "close")] if is_last else []
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        try:
            data = self._http.send(h11.Response(status_code=answer.status, headers=encoded)) or b""
            block = b"" if self._head is not None and self._head.method == b"HEAD" else answer.body
            while block:
                data += self._http.send(h11.Data(data=block)) or b""
                block = await self._gateway.more(answer)
                if block:
                    await self._write(data)
                    data = b""
            await self._write(data + (self._http.send(h11.EndOfMessage()) or b""))
        finally:
            answer.close()

    async def _write(self, data: bytes) -> None:
        if len(data) > BLOCK_BYTES:
            self._limits.hold(self, len(data))
        for begin in range(0, len(data), BLOCK_BYTES):
            self.progress_s = time.monotonic()
            self._writer.write(data[begin : begin + BLOCK_BYTES])
            if self._writer.transport.get_write_buffer_size():  # the client takes no more for now
                async with _within(STALLED_S, "the answer"):
                    await self._writer.drain()
        self._limits.release(self)

    async def _linger(self) -> None:
        """Let the client read its answer: closed with something unread, the kernel would reset the connection."""
        with suppress(OSError, TimeoutError):
            self._writer.write_eof()
            async with asyncio.timeout(LINGER_S):
                while await self._reader.read(BLOCK_BYTES):
                    pass

    def _is_disconnected(self) -> bool:
        """Whether the client has closed the connection; one that has only ended its own side looks the same."""
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
        raise SlowClient(f"{what} did not get through within its time") from None
