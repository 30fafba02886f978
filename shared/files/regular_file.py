"""Reading of files that another user may have replaced: only regular files, inside a directory, of bounded size.

A FIFO would block, a device could be endless, and a symbolic link could lead to either. So a file is checked before it
is opened.
"""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

from shared.errors import SnapshotError

SMALL_BYTES = 64 * 1024
"""The size limit of files of a few lines."""


def regular_file(path: Path, inside: Path | None = None) -> Path:
    """Resolve a path to a regular file, following symbolic links.

    Args:
        path: of a file.
        inside: the directory that must contain it, after following links; None for any.

    Raises:
        SnapshotError: it is a directory, a FIFO, a device or a socket, or is outside of `inside`.
        OSError: it does not exist, or is not accessible.
    """
    try:
        resolved = path.resolve(strict=True)
    except (RuntimeError, ValueError) as error:  # a link to itself, until Python 3.12; a NUL in the name
        raise OSError(errno.ELOOP, str(error), str(path)) from error
    if inside is not None and not resolved.is_relative_to(inside.resolve()):
        raise SnapshotError(f"{path} is a link that leads out of {inside}")
    _require_regular(resolved.lstat(), path)
    return resolved


def open_regular(path: Path, inside: Path | None = None) -> BinaryIO:
    """Open a regular file for reading bytes; see `regular_file`."""
    # O_NONBLOCK in case it has just become a FIFO; it has no effect on regular files.
    descriptor = os.open(regular_file(path, inside), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        _require_regular(os.fstat(descriptor), path)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: Path, max_bytes: int = SMALL_BYTES, inside: Path | None = None) -> bytes:
    """Read a regular file of at most `max_bytes`; see `regular_file`.

    Raises:
        SnapshotError: it is larger.
    """
    with open_regular(path, inside) as file:
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise SnapshotError(f"{path} has more than {max_bytes:,} bytes; expected at most that")
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
