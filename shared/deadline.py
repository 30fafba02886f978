"""A point in time that long work must not pass."""

import math
import time
from dataclasses import dataclass

from shared.errors import SnapshotError


@dataclass(frozen=True)
class Deadline:
    """When the opening of a snapshot has to be done.

    Attributes:
        at_s: on the monotonic clock, in seconds.
    """

    at_s: float = math.inf

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """So many seconds from now."""
        return cls(time.monotonic() + seconds)

    @property
    def is_over(self) -> bool:
        """Whether the time has passed."""
        return time.monotonic() > self.at_s

    def check(self, work: str) -> None:
        """Refuse to go on.

        Args:
            work: what takes so long, for the message.

        Raises:
            SnapshotError: the time has passed.
        """
        if self.is_over:
            raise SnapshotError(f"{work} takes too long: the time for opening the snapshot is over")


NO_DEADLINE = Deadline()
