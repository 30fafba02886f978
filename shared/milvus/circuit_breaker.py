"""Ask a server that does not answer only now and then, so that nobody waits for it in vain."""

import threading
import time
from collections.abc import Callable

_FAILURES = 3
_PAUSE_S = 1.0


class CircuitBreaker:
    """After some failures in a row nobody asks for a while; then one does, and if that goes well, all do again.

    Safe to use from any number of threads.
    """

    def __init__(
        self, failures: int = _FAILURES, pause_s: float = _PAUSE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Closed: all may ask.

        Args:
            failures: in a row, after which it opens.
            pause_s: seconds between two that may ask while it is open.
            clock: tells seconds.
        """
        self._failures, self._pause_s, self._clock = failures, pause_s, clock
        self._lock = threading.Lock()
        self._failed = 0
        self._next_s = 0.0

    def wait_s(self) -> float:
        """Seconds until somebody may ask; 0 for now, and then the caller is the one who asks."""
        with self._lock:
            if self._failed < self._failures:
                return 0.0
            left = self._next_s - self._clock()
            if left > 0:
                return left
            self._next_s = self._clock() + self._pause_s
            return 0.0

    def succeeded(self) -> None:
        """Whoever asked got an answer."""
        with self._lock:
            self._failed = 0

    def failed(self) -> None:
        """Whoever asked got none."""
        with self._lock:
            self._failed += 1
            self._next_s = self._clock() + self._pause_s
