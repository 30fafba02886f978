"""Settings of glibc's malloc that return freed memory to the system."""

import ctypes
from contextlib import suppress

# Parameters of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGE_BYTES = 4 * 1024 * 1024


def return_freed_memory() -> None:
    """Map blocks of at least 4 MiB separately, so that they are returned to the system when freed.

    By default glibc raises this threshold to the largest block freed so far, up to 32 MiB, and keeps smaller blocks in
    the arena of their thread: after some large images each thread would keep about 100 MB. Without glibc, do nothing.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_TRIM_THRESHOLD, _LARGE_BYTES)
