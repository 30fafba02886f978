"""Advisory locks (flock) that are never waited for without a limit: whoever can read a file can lock it for ever."""

import fcntl
import time
from typing import Protocol

_RETRY_S = 0.01


class HasDescriptor(Protocol):
    """An open file."""

    def fileno(self) -> int:
        """Its descriptor."""


def lock_within(file: HasDescriptor | int, operation: int, seconds: float) -> bool:
    """Take a lock, and try again for some time while others hold one that excludes it.

    Args:
        file: open.
        operation: `fcntl.LOCK_SH` or `fcntl.LOCK_EX`.
        seconds: to try for; 0 tries once.

    Returns:
        Whether it was taken.

    Raises:
        OSError: the file system has no locks.
    """
    until = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(_RETRY_S)
        else:
            return True
