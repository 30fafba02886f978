"""The directory that workers share their metrics in, and what services that were killed have left of theirs.

A service holds a lock on a file in its directory as long as it or a worker of it lives; the kernel drops it when the
last of them ends, however it ends. So a directory whose file can be locked is nobody's any more.
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
_LOCK = "in-use"  # `lock` is the counts'
_NO_LINK = os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def metrics_directory() -> Iterator[Path]:
    """Make a fresh directory, named in the environment as prometheus_client wants it, and clear away leftovers.

    Workers are forked within this block and leave it too when they end: only the process that made the directory
    removes it.
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
    """Remove the directories of services of this user that have ended; what can't be removed stays."""
    parent = Path(tempfile.gettempdir())
    with suppress(OSError), os.scandir(parent) as entries:
        for name in [entry.name for entry in entries if entry.name.startswith(_PREFIX)]:
            _clear(parent / name)


def _lock_new(directory: Path) -> int:
    """Make the file and lock it; it appears under its name only once it is locked."""
    made = directory / f"{_LOCK}.new"
    lock = os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    made.rename(directory / _LOCK)
    return lock


def _clear(directory: Path) -> None:
    """Remove a directory of ours if nobody holds its lock; without a lock's file it may be about to get one."""
    with suppress(OSError):  # not a directory, not ours to open, or locked
        opened = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | _NO_LINK)
        try:
            if os.fstat(opened).st_uid == os.getuid():
                _clear_unlocked(directory, opened)
        finally:
            os.close(opened)


def _clear_unlocked(directory: Path, opened: int) -> None:
    lock = os.open(_LOCK, os.O_RDWR | os.O_NONBLOCK | _NO_LINK, dir_fd=opened)
    try:
        found = os.fstat(lock)
        if stat.S_ISREG(found.st_mode) and found.st_uid == os.getuid():
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(directory, ignore_errors=True)  # follows no links itself
    finally:
        os.close(lock)
