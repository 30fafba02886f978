"""The lock that lets one build at a time write to a data directory."""

import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import BinaryIO

from indexer.files.durable_write import storage_error
from shared.errors import Busy, StorageError
from shared.snapshot.data_directory import DataDirectory


@contextmanager
def writer_lock(data: DataDirectory) -> Iterator[None]:
    """Lock the data directory for writing, and delete what killed builds have left there.

    The kernel releases the lock if the process is killed.

    Raises:
        Busy: another process holds the lock; the message names it.
        StorageError: the directory can't be written.
    """
    with _open(data) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Busy(
                f"another build is writing to {data.root}: {file.read().decode().strip() or 'unknown'};"
                " wait until it ends"
            ) from None
        holder = {"pid": os.getpid(), "host": socket.gethostname(), "since": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
        _delete_leftovers(data)  # first: it makes room on a full disk
        try:
            file.truncate(0)
            file.write(json.dumps(holder).encode())
        except OSError as error:
            raise _cannot_write(data, error) from error
        yield


def _open(data: DataDirectory) -> BinaryIO:
    try:
        return data.lock.open("a+b", buffering=0)
    except OSError as error:
        raise _cannot_write(data, error) from error


def _cannot_write(data: DataDirectory, error: OSError) -> StorageError:
    return storage_error(f"the data directory {data.root} can't be written", data.root, error)


def _delete_leftovers(data: DataDirectory) -> None:
    for directory in data.snapshots.glob(".*"):
        shutil.rmtree(directory, ignore_errors=True)
    for name in (data.current.name, data.published.name, data.build_settings.name):
        for file in data.root.glob(f".{name}.*"):
            file.unlink(missing_ok=True)
