"""Read files that somebody else may have replaced: regular ones alone, inside a directory, no longer than expected.

A FIFO would be waited for, a device could be endless, and a symbolic link could lead to either. Nothing is opened
before it is known to be a regular file.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from shared.errors import SnapshotError

SMALL_BYTES = 64 * 1024
"""A bound for files of a few lines."""


def regular_file(path: Path, inside: Path | None = None) -> Path:
    """The regular file that `path` leads to, with symbolic links followed.

    Args:
        path: of a file.
        inside: the directory that it must lie in, links followed; None for anywhere.

    Raises:
        SnapshotError: it is a directory, a FIFO, a device or a socket, or lies elsewhere.
        OSError: there is none, or it can't be looked at.
    """
    try:
        found = path.resolve(strict=True)
    except (RuntimeError, ValueError) as error:  # a link to itself, until Python 3.12; a NUL in the name
        raise OSError(errno.ELOOP, str(error), str(path)) from error
    if inside is not None and not found.is_relative_to(inside.resolve()):
        raise SnapshotError(f"{path} is a link that leads out of {inside}")
    _require_regular(found.lstat(), path)
    return found


def open_regular(path: Path, inside: Path | None = None) -> BinaryIO:
    """Open a regular file to read its bytes; see `regular_file`."""
    found = regular_file(path, inside)
    # Not blocking, should it have become a FIFO meanwhile; of regular files, that changes nothing.
    descriptor = os.open(found, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _require_regular(os.fstat(descriptor), path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, most_bytes: int = SMALL_BYTES, inside: Path | None = None) -> bytes:
    """All bytes of a regular file, where it has `most_bytes` at most; see `regular_file`.

    Raises:
        SnapshotError: it is larger.
    """
    with open_regular(path, inside) as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise SnapshotError(f"{path} has more than {most_bytes:,} bytes, the most that are expected of it")
    return content


def _require_regular(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise SnapshotError(f"{path} is {_kind(status.st_mode)}; expected a regular file")


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFDIR: "a directory",
        stat.S_IFIFO: "a FIFO",
        stat.S_IFSOCK: "a socket",
        stat.S_IFCHR: "a device",
        stat.S_IFBLK: "a device",
        stat.S_IFLNK: "a symbolic link",
    }
    return kinds.get(stat.S_IFMT(mode), "not a file")
