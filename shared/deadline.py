"""A deadline for opening a snapshot."""

import math
import time
from dataclasses import dataclass

from shared.errors import SnapshotError


@dataclass(frozen=True)
class Deadline:
    """The time by which a snapshot must be open.

    Attributes:
        at_s: seconds on the clock of `time.monotonic`.
    """

    at_s: float = math.inf

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        """A deadline some seconds from now."""
        return cls(time.monotonic() + seconds)

    @property
    def is_over(self) -> bool:
        """True if the deadline has passed."""
        return time.monotonic() > self.at_s

    def check(self, work: str) -> None:
        """Stop the work if the deadline has passed.

        Args:
            work: for the message, as a gerund: "reading …".

        Raises:
            SnapshotError: it has passed.
        """
        if self.is_over:
            raise SnapshotError(f"{work} takes too long: the time limit for opening the snapshot has passed")


NO_DEADLINE = Deadline()
