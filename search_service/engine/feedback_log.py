"""Where feedback is kept: a file that all workers append to, a line a record. Knows nothing of the web.

Each record is one `write` of a whole line to a file that is opened for appending, so that lines of several processes
don't mix, and is flushed to the disk before the client is told. The file is opened anew for each: it may be moved away
at any time. A line that a crash or a full disk has cut short is ended before the next one, so that no other is lost
with it; a lock, which the kernel drops with its process, tells it from a line that is just being written.
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
_LOCK_WAIT_S = 2.0  # a write takes far less; whoever may read the file may lock it for ever
_MODE = 0o640  # what users sent is not for everybody on the machine


class FeedbackLog:
    """Appends records; safe to use from any number of threads and processes."""

    def __init__(self, path: Path) -> None:
        """Make the file where there is none yet; where it can't be written, that is logged, and searching goes on."""
        self._path = path
        try:
            os.close(self._open())
        except OSError as error:
            _log.warning("feedback will not be kept: %s can't be written: %s", path, error.strerror)

    def append(self, record: FeedbackRecord) -> None:
        """Keep a record; when this returns, it is on the disk.

        Raises:
            StorageError: it is not: the disk is full, or the file can't be written or is as large as it may become.
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
        raise OSError(errno.EAGAIN, "another process keeps it locked")
    size = os.fstat(descriptor).st_size
    if size + len(line) > _MAX_FILE_BYTES:
        raise OSError(0, f"the file has {size:,} bytes of the {_MAX_FILE_BYTES:,} that it may have")
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        line = b"\n" + line
    written = os.write(descriptor, line)
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    if written < len(line):
        raise OSError(0, f"{written} of {len(line)} bytes were written: no space left?")
