"""Accepts connections until it is stopped, and then waits for the open ones to end."""

import asyncio
import resource
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from search_service.server.backpressure import Backpressure
from search_service.server.connection import Connection
from search_service.server.limits import ConnectionLimits
from search_service.settings import ServiceSettings

if TYPE_CHECKING:
    from search_service.server.gateway import Gateway

IDLE_WHILE_DRAINING_S = 2.0
_POLL_S = 0.05
_MAX_ACCEPTED_AT_ONCE = 100
_RETRY_S = 0.1
_FILES_PER_CONNECTION = 2  # the socket, and an image that is sent
_OTHER_FILES = 64  # decoders, the catalogue, logs
_MIN_CONNECTIONS = 16


class Acceptor:
    """Create and use it within a running event loop."""

    def __init__(self, listeners: Sequence[socket.socket], gateway: "Gateway", settings: ServiceSettings) -> None:
        """Start accepting."""
        connections = min(settings.max_connections, _max_connections())
        of_network, bytes_of_network = settings.max_address_connections, settings.max_held_address_bytes
        if settings.trusted_proxies:  # all connections come from them
            of_network, bytes_of_network = connections, settings.max_held_bytes
        self.limits = ConnectionLimits(
            connections, min(connections, of_network), settings.max_held_bytes, bytes_of_network
        )
        self._listeners, self._gateway = listeners, gateway
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self.backpressure = Backpressure()
        self._measuring = self._loop.create_task(self.backpressure.measure())
        for listener in listeners:
            listener.setblocking(False)
            self._loop.add_reader(listener, self._accept_some, listener)

    def stop(self, accept_pending: bool) -> None:
        """Close the listeners.

        Args:
            accept_pending: True to accept first the connections that no other process would.
        """
        self.limits.is_draining = True
        for listener in self._listeners:
            self._loop.remove_reader(listener)
            while accept_pending and self._accept(listener):
                pass
            listener.close()

    async def drain(self, timeout_s: float) -> AsyncIterator[None]:
        """Wait until all requests are answered, for at most `timeout_s`; yield often for the caller's heartbeat.

        Idle connections stay open for a moment: a request may be on its way.
        """
        began_s = time.monotonic()
        while self._tasks and time.monotonic() - began_s < timeout_s:
            if time.monotonic() - began_s >= IDLE_WHILE_DRAINING_S:
                self.limits.evict_idle()
            await asyncio.sleep(_POLL_S)
            yield
        self._measuring.cancel()
        await asyncio.sleep(0)  # sockets are closed in the loop's next turn

    def _accept_some(self, listener: socket.socket) -> None:
        """Accept pending connections, but not endlessly many before the first is served."""
        for _ in range(_MAX_ACCEPTED_AT_ONCE):
            if not self._accept(listener):
                return

    def _accept(self, listener: socket.socket) -> bool:
        """Accept one connection; return False if there is none."""
        try:
            client, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            return False
        except OSError:  # no file is left: until one is, it would fail again at once
            self._loop.remove_reader(listener)
            self._loop.call_later(_RETRY_S, self._accept_again, listener)
            return False
        task = self._loop.create_task(self._serve(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    def _accept_again(self, listener: socket.socket) -> None:
        if not self.limits.is_draining:
            self._loop.add_reader(listener, self._accept_some, listener)

    async def _serve(self, client: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=client)
        connection = Connection(reader, writer, self._gateway, self.limits, self.backpressure)
        if self.limits.add(connection):
            await connection.serve()
        else:
            writer.transport.abort()


def _max_connections() -> int:
    """Return how many connections the process has files for; without a file left, a worker can't do its other work."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(_MIN_CONNECTIONS, (files - _OTHER_FILES) // _FILES_PER_CONNECTION)
