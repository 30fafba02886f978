"""Accepts connections, each served by a task, until it is stopped; then waits for those that are open."""

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
_LOOK_S = 0.05
_AT_ONCE = 100
_NO_FILES_S = 0.1
_FILES_A_CONNECTION = 2  # the socket, and an image that is sent
_OTHER_FILES = 64  # decoders, the catalogue, logs
_LEAST_CONNECTIONS = 16


class Acceptor:
    """Made and used within a running event loop."""

    def __init__(self, listeners: Sequence[socket.socket], gateway: "Gateway", settings: ServiceSettings) -> None:
        """Accept from now on."""
        most, bytes_of_all = min(settings.max_connections, _room_of_files()), settings.max_held_bytes
        of_network, bytes_of_network = settings.max_address_connections, settings.max_held_address_bytes
        if settings.trusted_proxies:  # they have all of them
            of_network, bytes_of_network = most, bytes_of_all
        self.limits = ConnectionLimits(most, min(most, of_network), bytes_of_all, bytes_of_network)
        self._listeners, self._gateway = listeners, gateway
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self.pace = Backpressure()
        self._measuring = self._loop.create_task(self.pace.measure())
        for listener in listeners:
            listener.setblocking(False)
            self._loop.add_reader(listener, self._accept_some, listener)

    def stop(self, accepts_all: bool) -> None:
        """Listen no more.

        Args:
            accepts_all: whether to take in first what waits: nobody else would.
        """
        self.limits.is_draining = True
        for listener in self._listeners:
            self._loop.remove_reader(listener)
            while accepts_all and self._accept(listener):
                pass
            listener.close()

    async def drain(self, grace_s: float) -> AsyncIterator[None]:
        """Step by step until all that had reached the service is answered, for `grace_s` at most.

        Idle connections are kept for a moment: a request may be on its way.
        """
        began_s = time.monotonic()
        while self._tasks and time.monotonic() - began_s < grace_s:
            if time.monotonic() - began_s >= IDLE_WHILE_DRAINING_S:
                self.limits.evict_idle()
            await asyncio.sleep(_LOOK_S)
            yield
        self._measuring.cancel()
        await asyncio.sleep(0)  # sockets are closed in the loop's next turn

    def _accept_some(self, listener: socket.socket) -> None:
        """Take in those that wait; but not all before any is served."""
        for _ in range(_AT_ONCE):
            if not self._accept(listener):
                return

    def _accept(self, listener: socket.socket) -> bool:
        """Take in one connection, if there is one."""
        try:
            client, _ = listener.accept()
        except (BlockingIOError, ConnectionError):
            return False
        except OSError:  # no file is left: it would fail again at once, as long as somebody waits
            self._loop.remove_reader(listener)
            self._loop.call_later(_NO_FILES_S, self._listen_again, listener)
            return False
        task = self._loop.create_task(self._serve(client))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    def _listen_again(self, listener: socket.socket) -> None:
        if not self.limits.is_draining:
            self._loop.add_reader(listener, self._accept_some, listener)

    async def _serve(self, client: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=client)
        connection = Connection(reader, writer, self._gateway, self.limits, self.pace)
        if self.limits.add(connection):
            await connection.serve()
        else:
            writer.transport.abort()


def _room_of_files() -> int:
    """How many connections the process may have files for; a worker that has none left can't do its other work."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if files == resource.RLIM_INFINITY:
        return sys.maxsize
    return max(_LEAST_CONNECTIONS, (files - _OTHER_FILES) // _FILES_A_CONNECTION)
