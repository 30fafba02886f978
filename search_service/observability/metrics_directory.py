"""The temporary directory in which workers share their metrics, and the removal of stale ones.

A service and its workers hold a lock on a file in their directory; the kernel releases it when the last of these
processes ends, even if it is killed. So a directory whose file can be locked is stale.
"""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

ENVIRONMENT = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX = "parecido-metrics-"
_LOCK = "in-use"  # `lock` is the file of `WorkerCounters`
_NO_FOLLOW = os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def metrics_directory() -> Iterator[Path]:
    """Create a directory, set the environment variable that prometheus_client reads, and remove stale directories.

    Workers are forked within this context and exit it too when they end, so only the process that created the
    directory removes it.
    """
    clear_leftovers()
    owner = os.getpid()
    directory = Path(tempfile.mkdtemp(prefix=_PREFIX))
    lock = _lock_new(directory)
    os.environ[ENVIRONMENT] = str(directory)
    try:
        yield directory
    finally:
        if os.getpid() == owner:
            del os.environ[ENVIRONMENT]
            shutil.rmtree(directory, ignore_errors=True)
            os.close(lock)


def clear_leftovers() -> None:
    """Remove the stale directories of this user; errors are ignored."""
    parent = Path(tempfile.gettempdir())
    with suppress(OSError), os.scandir(parent) as entries:
        for name in [entry.name for entry in entries if entry.name.startswith(_PREFIX)]:
            _clear(parent / name)


def _lock_new(directory: Path) -> int:
    """Create the lock file; it gets its final name only once it is locked."""
    path = directory / f"{_LOCK}.new"
    lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_FOLLOW, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    path.rename(directory / _LOCK)
    return lock


def _clear(directory: Path) -> None:
    """Remove a directory of this user if its lock is free; one without a lock file may just have been created."""
    with suppress(OSError):  # not a directory, no permission, or locked
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | _NO_FOLLOW)
        try:
            if os.fstat(opened).st_uid == os.getuid():
                _clear_unlocked(directory, opened)
        finally:
            os.close(opened)


def _clear_unlocked(directory: Path, opened: int) -> None:
    lock = os.open(_LOCK, os.O_RDWR | os.O_NONBLOCK | _NO_FOLLOW, dir_fd=opened)
    try:
        status = os.fstat(lock)
        if stat.S_ISREG(status.st_mode) and status.st_uid == os.getuid():
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)  # does not follow links
    finally:
        os.close(lock)
