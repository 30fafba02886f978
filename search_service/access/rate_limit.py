"""A rate limit per client, counted over all workers.

The generic cell rate algorithm keeps one time per client: when its requests so far are worked off at the allowed rate.
The times are in memory that processes forked later share. See docs/decisions/0018-rate-limit.md.
"""

import hashlib
import mmap
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

_SLOTS = 65_536
_PERIODS_S = {"s": 1.0, "min": 60.0, "h": 3600.0}
_RATE = re.compile(r"([0-9]{1,9})/(s|min|h)")


@dataclass(frozen=True)
class Rate:
    """A number of requests per period, all of which may come at once."""

    requests: int
    period_s: float

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """Read `10/s`, `600/min` or `1000/h`.

        Raises:
            ValueError: another format.
        """
        match = _RATE.fullmatch(text.strip())
        if match is None or int(match[1]) == 0:
            raise ValueError("expected requests per period, such as 10/s, 600/min or 1000/h")
        return cls(int(match[1]), _PERIODS_S[match[2]])


class RateLimit:
    """Shared by all processes that are forked later."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = rate.period_s / rate.requests
        self._burst_s = rate.period_s - self._interval_s
        self._clock = clock
        self._salt = secrets.token_bytes(16)  # so that no client can choose another one's slot
        self._free_at = memoryview(mmap.mmap(-1, _SLOTS * 8)).cast("d")

    def acquire(self, client: str) -> float:
        """Count a request of a client if the limit allows it.

        Returns:
            Seconds to wait; 0 if the request is allowed.
        """
        slot, now = self._slot(client), self._clock()
        free_at = max(now, self._free_at[slot])
        wait_s = free_at - now - self._burst_s
        # Tolerate rounding errors.
        if wait_s > self._interval_s / 1000:
            return wait_s
        self._free_at[slot] = free_at + self._interval_s
        return 0.0

    def charge(self, client: str, requests: int) -> None:
        """Count further requests that are processed anyway; the following ones wait for them."""
        slot = self._slot(client)
        self._free_at[slot] = max(self._clock(), self._free_at[slot]) + requests * self._interval_s

    def _slot(self, client: str) -> int:
        digest = hashlib.blake2b(client.encode("utf-8", "surrogateescape"), digest_size=8, key=self._salt).digest()
        return int.from_bytes(digest, "big") % _SLOTS
