"""Requests take a thread only once they are whole: gunicorn's threaded worker, changed for that.

The worker's one event loop reads what clients send, as it comes, and hands a request to the threads when all of it is
there. So neither a slow upload nor a connection that sends nothing holds a thread, however many there are; and how long
a request has waited is counted from when it could have been answered. See docs/decisions/0015-admission.md.
"""

import re
import selectors
import time
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from gunicorn.http.unreader import SocketUnreader
from gunicorn.workers.gthread import TConn, ThreadWorker

from search_service.arriving import ArrivingRequest
from search_service.bare_answer import bare_answer
from search_service.client_socket import ClientSocket
from shared.errors import Overloaded, SlowClient

if TYPE_CHECKING:
    from search_service.door import Door  # it needs prometheus_client, which must not be imported before the fork

SILENT_S = 5.0
"""Who connects and sends nothing for so long is disconnected."""
ARRIVAL_S = 60.0
"""A request that has begun has to be whole after so long."""
_RECEIVE_BYTES = 256 * 1024
_RECEIVES = 16
_PIECE_BYTES = 64 * 1024
_LOOK_S = 0.5
_CLOSE = re.compile(rb"\r\nconnection:[ \t]*close", re.IGNORECASE)


@dataclass(eq=False)
class _Arrival:
    """A request on its way.

    Attributes:
        conn: the connection.
        request: what has come of it.
        until_s: when it has to be whole, by `time.monotonic()`.
        is_polled: whether the event loop waits for more.
    """

    conn: TConn
    request: ArrivingRequest
    until_s: float
    is_polled: bool = False


class CollectingWorker(ThreadWorker):  # type: ignore[misc]
    """Reads requests on one thread, answers them on several.

    Attributes:
        door: turns queries away before they take a thread; None lets in everybody.
    """

    door: "Door | None" = None

    def __init__(self, *args: Any, **named: Any) -> None:
        """As gunicorn has it; the limits are those of the application's settings, where it has some."""
        super().__init__(*args, **named)
        settings = getattr(self.app, "settings", None)
        self._max_body_bytes: int = settings.max_batch_body_bytes if settings else 2**30
        self._max_held_bytes: int = settings.max_held_bytes if settings else 2**31
        self._arrivals: dict[TConn, _Arrival] = {}
        self._held: dict[TConn, int] = {}
        self._held_bytes = 0
        self._behind: dict[TConn, bytes] = {}
        self._let_in: set[TConn] = set()
        self._looked_s = 0.0

    def enqueue_req(self, conn: TConn) -> None:
        """Collect the next request of a connection, then hand it to the threads."""
        received = conn.parser.unreader.take_buffered() if conn.parser else b""
        if not isinstance(conn.sock, ClientSocket):
            conn.sock = ClientSocket(fileno=conn.sock.detach())
        conn.sock.setblocking(False)
        wait_s = ARRIVAL_S if received else SILENT_S
        arrival = _Arrival(conn, ArrivingRequest(self._max_body_bytes), time.monotonic() + wait_s)
        self._arrivals[conn] = arrival
        self._add(arrival, received)
        if arrival.request.is_whole:
            self._hand_on(arrival)
        else:
            self._receive(arrival)

    def finish_request(self, conn: TConn, fs: Any) -> None:
        """The answer is sent: what came behind the request is the next one."""
        self._let_in.discard(conn)
        self._held_bytes -= self._held.pop(conn, 0)
        if behind := self._behind.pop(conn, b""):
            unreader = conn.parser.unreader
            unreader.unread(unreader.take_buffered() + behind)
        super().finish_request(conn, fs)

    def _keepalive_after(self, conn: TConn, keepalive: bool) -> bool:
        """Also where the application has not read the body: gunicorn would close the connection for a large one."""
        unreader = conn.parser.unreader
        while keepalive and isinstance(unreader, _Unreader) and unreader.holds_more:
            if not conn.parser.mesg.body.read(_PIECE_BYTES):
                break
        return bool(super()._keepalive_after(conn, keepalive))

    def murder_pending(self) -> None:
        """Disconnect whose request is not whole in time; gunicorn calls this whenever something has happened."""
        super().murder_pending()
        now_s = time.monotonic()
        if now_s - self._looked_s < _LOOK_S:
            return
        self._looked_s = now_s
        for arrival in [one for one in self._arrivals.values() if one.until_s <= now_s]:
            if arrival.request:
                self._refuse(arrival, 408, SlowClient(f"the request was not whole within {ARRIVAL_S:g} s"))
            else:
                self._drop(arrival)

    def _receive(self, arrival: _Arrival, _socket: Any = None) -> None:
        """Take what has come, and hand the request on when it is whole."""
        for _ in range(_RECEIVES):  # then it is the others' turn
            try:
                data = arrival.conn.sock.recv(_RECEIVE_BYTES)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                data = b""
            if not data:
                self._drop(arrival)
                return
            self._add(arrival, data)
            if arrival.request.is_whole:
                self._hand_on(arrival)
                return
            if self._held_bytes > self._max_held_bytes:
                message = "the service is busy: it holds as many bytes of requests as it may; try again in 1 s"
                self._refuse(arrival, 503, Overloaded(message))
                return
        if not arrival.is_polled:
            arrival.is_polled = True
            self.poller.register(arrival.conn.sock, selectors.EVENT_READ, partial(self._receive, arrival))

    def _add(self, arrival: _Arrival, data: bytes) -> None:
        if not data:
            return
        if not arrival.request:
            arrival.until_s = time.monotonic() + ARRIVAL_S
        arrival.request.add(data)
        self._held[arrival.conn] = self._held.get(arrival.conn, 0) + len(data)
        self._held_bytes += len(data)
        if arrival.request.wants_continue:
            arrival.request.wants_continue = False
            with suppress(OSError):
                arrival.conn.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _hand_on(self, arrival: _Arrival) -> None:
        conn = arrival.conn
        self._forget(arrival)
        request, behind = arrival.request.take()
        if self.door is not None and self.door.wants_room(request):
            if len(self._let_in) >= self.door.room:
                self._turn_away(self.door, conn, request, is_last=not behind)
                return
            self._let_in.add(conn)
        if behind:
            self._behind[conn] = behind
        conn.init()
        if not isinstance(conn.parser.unreader, _Unreader):
            conn.parser.unreader = _Unreader(conn.sock)
        conn.parser.unreader.hold(request)
        conn.sock.arrived_s = time.monotonic()
        super().enqueue_req(conn)

    def _turn_away(self, door: "Door", conn: TConn, request: bytes, is_last: bool) -> None:
        """Answer on this thread, and wait for the next request of the connection, where that is simple."""
        has_room = len(self.keepalived_conns) < self.max_keepalived
        is_kept = is_last and has_room and self.alive and _is_kept_alive(request)
        self._held_bytes -= self._held.pop(conn, 0)
        try:
            conn.sock.send(door.refuse(request, is_kept))
        except OSError:
            is_kept = False
        if not is_kept:
            self.nr_conns -= 1
            conn.close()
            return
        conn.set_timeout()
        self.keepalived_conns.append(conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, partial(self.on_client_socket_readable, conn))

    def _refuse(self, arrival: _Arrival, status: int, error: Overloaded | SlowClient) -> None:
        with suppress(OSError):
            arrival.conn.sock.send(bare_answer(status, error, arrival.request.take()[0]))
        self._drop(arrival)

    def _drop(self, arrival: _Arrival) -> None:
        self._forget(arrival)
        self._held_bytes -= self._held.pop(arrival.conn, 0)
        self.nr_conns -= 1
        arrival.conn.close()

    def _forget(self, arrival: _Arrival) -> None:
        del self._arrivals[arrival.conn]
        if arrival.is_polled:
            self.poller.unregister(arrival.conn.sock)


class _Unreader(SocketUnreader):  # type: ignore[misc]
    """Gives the parser what was collected, then what the socket has.

    Gunicorn's own buffer copies all that is left in it at each read, which is slow for megabytes.
    """

    def __init__(self, sock: ClientSocket) -> None:
        super().__init__(sock)
        self._rest = memoryview(b"")

    def hold(self, data: bytes) -> None:
        """Give this next."""
        self._rest = memoryview(data)

    @property
    def holds_more(self) -> bool:
        """Whether something was collected that nobody has read."""
        return bool(self._rest)

    def chunk(self, size_hint: int | None = None) -> bytes:
        if not self._rest:
            received: bytes = super().chunk(size_hint)
            return received
        size = min(size_hint or self.mxchunk, _PIECE_BYTES)
        piece, self._rest = bytes(self._rest[:size]), self._rest[size:]
        return piece

    def take_buffered(self) -> bytes:
        buffered: bytes = super().take_buffered()
        rest, self._rest = bytes(self._rest), memoryview(b"")
        return buffered + rest


def _is_kept_alive(request: bytes) -> bool:
    head = request[: request.find(b"\r\n\r\n") + 2]
    return b" HTTP/1.1\r\n" in head and _CLOSE.search(head) is None
