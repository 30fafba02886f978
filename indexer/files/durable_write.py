"""Replacing, flushing and linking files, and the error for a disk that can't be written."""

import os
import shutil
from pathlib import Path

from shared.errors import StorageError


def storage_error(what: str, where: Path, error: Exception) -> StorageError:
    """The error for a write that failed, with its reason and the free space.

    Args:
        what: what failed, for example `the data directory X can't be written`.
        where: an existing directory on that disk.
        error: raised by the system or SQLite.
    """
    reason = getattr(error, "strerror", None) or error
    free_mb = shutil.disk_usage(where).free / 1e6
    return StorageError(f"{what}: {reason}; {free_mb:,.0f} MB are free. The published snapshot is unchanged")


def replace_file(path: Path, text: str) -> None:
    """Replace a small file atomically.

    Raises:
        StorageError: the disk is full or not writable.
    """
    try:
        replace_bytes(path, text.encode())
    except OSError as error:
        raise storage_error(f"{path} can't be written", path.parent, error) from error


def replace_bytes(path: Path, content: bytes) -> None:
    """Replace a file atomically: a kill leaves the old content or the new.

    Raises:
        OSError: the disk is full or not writable.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_bytes(content)
        flush(beside)
        beside.replace(path)
        flush(path.parent)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def flush(path: Path) -> None:
    """Flush a file, or the entries of a directory, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link_or_copy(source: Path, target: Path) -> None:
    """Make a hard link, or a copy where the file system has no hard links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
