"""Writing to the disk so that it stays there, and what to say when that can't be done."""

import os
import shutil
from pathlib import Path

from shared.errors import StorageError


def storage_error(what: str, where: Path, error: Exception) -> StorageError:
    """Name what can't be written, why, and how much room there is.

    Args:
        what: a sentence without its end, for example `the data directory X can't be written`.
        where: an existing directory on the disk in question.
        error: what the system or SQLite said.
    """
    reason = getattr(error, "strerror", None) or error
    free_mb = shutil.disk_usage(where).free / 1e6
    return StorageError(f"{what}: {reason}; {free_mb:,.0f} MB are free. What is published stays published")


def replace_file(path: Path, text: str) -> None:
    """Replace a small file whole, or not at all.

    Raises:
        StorageError: the disk is full, or can't be written.
    """
    try:
        replace_bytes(path, text.encode())
    except OSError as error:
        raise storage_error(f"{path} can't be written", path.parent, error) from error


def replace_bytes(path: Path, content: bytes) -> None:
    """Replace a file, or leave it as it is; a kill does either.

    Raises:
        OSError: the disk is full, or can't be written.
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
    """See a file, or the entries of a directory, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link costs neither time nor space; not every file system has them."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
