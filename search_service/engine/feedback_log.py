"""The feedback file: one line per record, appended by all workers. Does not depend on Flask.

- Each record is one `write` in append mode, so lines of several processes are not interleaved.
- It is flushed to disk before the client gets its response.
- The file is opened for each record, so it may be moved away (log rotation) at any time.
- A line that a crash or a full disk has cut short is terminated before the next one. A lock, which the kernel releases
  with its process, distinguishes it from a line that is being written.
"""

import errno
import fcntl
import logging
import os
from pathlib import Path

from shared.errors import StorageError
from shared.feedback_record import FeedbackRecord
from shared.files.file_lock import lock_within

_log = logging.getLogger(__name__)

_MAX_FILE_BYTES = 1024**3  # some 140,000 records; clients must not fill a disk
_LOCK_WAIT_S = 2.0  # a write takes far less, but any reader of the file could hold its lock
_MODE = 0o640  # user data must not be world-readable


class FeedbackLog:
    """Appends feedback records to a file. Safe to use from several threads and processes."""

    def __init__(self, path: Path) -> None:
        """Create the file if it does not exist; if it is not writable, log a warning and go on."""
        self._path = path
        try:
            os.close(self._open())
        except OSError as error:
            _log.warning("feedback will not be kept: %s can't be written: %s", path, error.strerror)

    def append(self, record: FeedbackRecord) -> None:
        """Append a record and flush it to disk.

        Raises:
            StorageError: the disk is full, the file is not writable, or it has reached its maximum size.
        """
        try:
            descriptor = self._open()
            try:
                _write(descriptor, record.to_line().encode("ascii"))
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            _log.warning("feedback is lost: %s can't be written: %s", self._path, error.strerror)
            raise StorageError(
                f"the feedback can't be kept where PARECIDO_FEEDBACK says: {error.strerror}; searching goes on"
            ) from error

    def _open(self) -> int:
        return os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, _MODE)


def _write(descriptor: int, line: bytes) -> None:
    if not lock_within(descriptor, fcntl.LOCK_EX, _LOCK_WAIT_S):
        raise OSError(errno.EAGAIN, "another process holds its lock")
    size = os.fstat(descriptor).st_size
    if size + len(line) > _MAX_FILE_BYTES:
        raise OSError(0, f"it has {size:,} bytes, and the limit is {_MAX_FILE_BYTES:,}; move the file away")
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        line = b"\n" + line
    written = os.write(descriptor, line)
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    if written < len(line):
        raise OSError(0, f"{written} of {len(line)} bytes were written; is the disk full?")
