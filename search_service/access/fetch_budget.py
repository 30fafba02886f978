"""The time and bytes that one request may spend on fetching images, and a connection that respects the time."""

import io
import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any

from shared.errors import ImageTooLarge


@dataclass
class FetchBudget:
    """The remaining budget for all images of one request.

    Attributes:
        deadline_s: end of the time for fetching, on the clock `time.monotonic()`.
        bytes_left: remaining bytes of all response bodies.
    """

    deadline_s: float
    bytes_left: int
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def spend(self, n_bytes: int) -> None:
        """Count the bytes of a fetched image.

        Raises:
            ImageTooLarge: they are more than are left.
        """
        with self._lock:
            if n_bytes > self.bytes_left:
                raise ImageTooLarge(f"the image at `image_url` has more than {self.bytes_left:,} bytes")
            self.bytes_left -= n_bytes

    def remaining_s(self) -> float:
        """Return the seconds that are left.

        Raises:
            TimeoutError: none are.
        """
        remaining_s = self.deadline_s - time.monotonic()
        if remaining_s <= 0:
            raise TimeoutError("the time for fetching images is over")
        return remaining_s


class BudgetedSocket:
    """The part of a socket that `http.client` needs, each call limited to the remaining time.

    `http.client` closes it when a response begins, and reads on from the file of `makefile`.
    """

    def __init__(self, raw: socket.socket, budget: FetchBudget) -> None:
        """Wrap a connected socket, which stays open on `close`."""
        self._raw = raw
        self._budget = budget

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return a file to read the response from."""
        return io.BufferedReader(_BudgetedFile(self._raw, self._budget))

    def sendall(self, data: bytes) -> None:
        """Send all data."""
        self._raw.settimeout(self._budget.remaining_s())
        self._raw.sendall(data)

    def close(self) -> None:
        """Do nothing."""


class _BudgetedFile(io.RawIOBase):
    def __init__(self, raw: socket.socket, budget: FetchBudget) -> None:
        self._raw = raw
        self._budget = budget

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._raw.settimeout(self._budget.remaining_s())
        return self._raw.recv_into(buffer)
