"""Advisory file locks (flock) with a timeout: anyone who can read a file can lock it forever."""

import fcntl
import time
from typing import Protocol

_RETRY_S = 0.01


class HasDescriptor(Protocol):
    """An open file."""

    def fileno(self) -> int:
        """The file descriptor."""


def lock_within(file: HasDescriptor | int, operation: int, seconds: float) -> bool:
    """Acquire a lock, retrying for some time while another process holds a conflicting one.

    Args:
        file: an open file, or its descriptor.
        operation: `fcntl.LOCK_SH` or `fcntl.LOCK_EX`.
        seconds: to retry; 0 tries once.

    Returns:
        True if it was acquired.

    Raises:
        OSError: the file system does not support locks.
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
