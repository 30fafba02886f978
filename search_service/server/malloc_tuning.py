"""Give memory back to the system when a request is done with it."""

import ctypes
from contextlib import suppress

# Of glibc's malloc.h.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_LARGE_BYTES = 4 * 1024 * 1024


def return_freed_memory() -> None:
    """Have blocks of 4 MiB and more mapped each for itself, and so given back when freed; only glibc has this.

    By itself glibc raises that limit to the largest block that it has seen freed, up to 32 MiB, and keeps what is
    smaller for the thread that had it: after some large pictures each thread holds on to a hundred megabytes.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_TRIM_THRESHOLD, _LARGE_BYTES)
