"""A circuit breaker: calls a server that does not answer only now and then, so that callers don't wait in vain."""

import threading
import time
from collections.abc import Callable

_FAILURES = 3
_PAUSE_S = 1.0


class CircuitBreaker:
    """Opens after some failures in a row; then one call per pause is a probe, and its success closes the breaker.

    Safe to use from any number of threads.
    """

    def __init__(
        self, failures: int = _FAILURES, pause_s: float = _PAUSE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Create a closed breaker.

        Args:
            failures: in a row, after which it opens.
            pause_s: seconds between probes while it is open.
            clock: returns seconds.
        """
        self._failures, self._pause_s, self._clock = failures, pause_s, clock
        self._lock = threading.Lock()
        self._n_failed = 0
        self._next_s = 0.0

    def wait_s(self) -> float:
        """Seconds until a call is allowed; 0 for now, and while open the caller's is then the probe."""
        with self._lock:
            if self._n_failed < self._failures:
                return 0.0
            remaining_s = self._next_s - self._clock()
            if remaining_s > 0:
                return remaining_s
            self._next_s = self._clock() + self._pause_s
            return 0.0

    def succeeded(self) -> None:
        """Record a call that was answered."""
        with self._lock:
            self._n_failed = 0

    def failed(self) -> None:
        """Record a call that was not answered."""
        with self._lock:
            self._n_failed += 1
            self._next_s = self._clock() + self._pause_s
