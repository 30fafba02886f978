"""How the service stops without losing a request: both of gunicorn's halves, changed for that.

1. The arbiter, told to stop, has the kernel complete no more connections.
2. Each worker takes in those that are complete, listens no more, and answers.

Gunicorn's own worker listens until its last request has ended, without accepting: the kernel goes on completing
connections meanwhile, and resets them all at the end. See docs/decisions/0010-containers.md.
"""

import ctypes
import socket
import struct
import sys
from contextlib import suppress
from select import select
from typing import Any

from gunicorn.arbiter import Arbiter

from search_service.collecting import CollectingWorker

_SO_ATTACH_FILTER = 26
_RETURN = 0x06


class DrainingArbiter(Arbiter):  # type: ignore[misc]
    """Starts and stops the workers."""

    def stop(self, graceful: bool = True) -> None:
        """Stop them, and have nobody connect from now on."""
        if not self.systemd and self.reexec_pid == self.master_pid == 0:  # or another process listens there too
            for listener in self.LISTENERS:
                complete_no_more(listener)
        super().stop(graceful)


class DrainingWorker(CollectingWorker):
    """Answers requests, on several threads."""

    sockets: list[Any]

    def set_accept_enabled(self, enabled: bool) -> None:
        """Accept connections or not; for good where the worker was told to stop."""
        super().set_accept_enabled(enabled)
        if enabled or self.alive:
            return
        for listener in self.sockets:
            while select([listener], [], [], 0)[0]:
                self.accept(listener)
            listener.close()
        self.sockets = []


def complete_no_more(listener: socket.socket) -> None:
    """Have the kernel drop what comes to a listening socket, in whatever process it is open, where it can do so.

    Connections that are complete stay. Who connects now tries again after a second, and is refused once the socket is
    closed. Otherwise one could be completed between a worker's last look at what waits and its close, and be reset.
    """
    if sys.platform != "linux":
        return
    keep_nothing = ctypes.create_string_buffer(struct.pack("HBBI", _RETURN, 0, 0, 0))  # linux/filter.h: sock_filter
    program = struct.pack("HP", 1, ctypes.addressof(keep_nothing))  # sock_fprog
    with suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
