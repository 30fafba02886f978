"""How often one caller may ask, counted over all workers.

The generic cell rate algorithm: of each caller only the time is kept at which its requests so far would be worked off
at the allowed rate. The times lie in memory that processes forked later share: docs/decisions/0018-rate-limit.md.
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
    """So many requests a period, all of which may come at once."""

    requests: int
    period_s: float

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """Read `10/s`, `600/min` or `1000/h`.

        Raises:
            ValueError: it is none of these.
        """
        found = _RATE.fullmatch(text.strip())
        if found is None or int(found[1]) == 0:
            raise ValueError("wanted a number of requests a period, as 10/s, 600/min or 1000/h")
        return cls(int(found[1]), _PERIODS_S[found[2]])


class RateLimit:
    """Make it before forking: then all processes count together."""

    def __init__(self, rate: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._interval_s = rate.period_s / rate.requests
        self._burst_s = rate.period_s - self._interval_s
        self._clock = clock
        self._salt = secrets.token_bytes(16)  # nobody can choose whose slot to share
        self._free_at = memoryview(mmap.mmap(-1, _SLOTS * 8)).cast("d")

    def spend(self, caller: str) -> float:
        """Count a request of a caller, where it has not asked too often.

        Returns:
            Seconds until it may ask again; 0 where it may now.
        """
        slot, now = self._slot(caller), self._clock()
        free_at = max(now, self._free_at[slot])
        wait_s = free_at - now - self._burst_s
        # A thousandth of a request is lost to rounding.
        if wait_s > self._interval_s / 1000:
            return wait_s
        self._free_at[slot] = free_at + self._interval_s
        return 0.0

    def owe(self, caller: str, requests: int) -> None:
        """Count further requests that are answered already: those that follow wait for them."""
        slot = self._slot(caller)
        self._free_at[slot] = max(self._clock(), self._free_at[slot]) + requests * self._interval_s

    def _slot(self, caller: str) -> int:
        digest = hashlib.blake2b(caller.encode("utf-8", "surrogateescape"), digest_size=8, key=self._salt).digest()
        return int.from_bytes(digest, "big") % _SLOTS
