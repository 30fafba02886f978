"""A client's connection: it tells whether the client is gone, and does not wait for a slow one for ever."""

import select
import socket

STALLED_S = 30.0
"""A thread waits so long at most for a client that takes or sends nothing."""


class ClientSocket(socket.socket):
    """An accepted connection.

    Attributes:
        arrived_s: when the request that is being answered was there as a whole, by `time.monotonic()`.
    """

    arrived_s = 0.0

    def setblocking(self, flag: bool) -> None:
        """Block for `STALLED_S` at most; `TimeoutError` then."""
        self.settimeout(STALLED_S if flag else 0.0)

    def is_gone(self) -> bool:
        """Whether the client has closed the connection.

        One that has only ended its own side, and still reads, looks the same.
        """
        try:
            # With a timeout, Python waits for something to read, whatever flags it is given: hence the look first.
            return self._has_something() and self.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True

    def _has_something(self) -> bool:
        poll = select.poll()
        poll.register(self, select.POLLIN)
        return bool(poll.poll(0))
