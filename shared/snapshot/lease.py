"""Leases: a process that has a snapshot open protects it from the indexer's retention.

A lease is a shared lock (flock) on the snapshot's manifest. The kernel releases it when the process ends, so a killed
one leaves nothing behind; and it needs read access only, so a read-only data directory will do.

Anyone who can read the manifest can lock it exclusively, forever. So a lease is waited for only briefly, and then the
snapshot is opened without one: an error would let any reader of the file keep the service from starting and swapping.
The risk is small: retention never removes the published snapshot, and while the other lock is held it can't get its own
and keeps the snapshot too.
"""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from shared.errors import SnapshotError
from shared.files.file_lock import lock_within
from shared.files.regular_file import open_regular
from shared.snapshot.data_directory import SnapshotPaths

_log = logging.getLogger(__name__)

_WAIT_S = 1.0


class SnapshotLease:
    """A lease on a snapshot, held until `close`; any number of processes may hold one."""

    def __init__(self, paths: SnapshotPaths, wait_s: float = _WAIT_S) -> None:
        """Acquire the lease, before opening the snapshot; log a warning if another process locks the manifest.

        Args:
            paths: of the snapshot.
            wait_s: seconds to wait for another process that locks the manifest.

        Raises:
            SnapshotError: there is no manifest, or it was removed or replaced meanwhile.
        """
        try:
            self._manifest = open_regular(paths.manifest, paths.boundary)
        except OSError as error:
            raise SnapshotError(f"the manifest {paths.manifest} can't be read: {error.strerror}") from error
        # Where the file system has no locks, `unleased` treats every snapshot as leased.
        with suppress(OSError):
            if not lock_within(self._manifest, fcntl.LOCK_SH, wait_s):
                _log.warning("%s is opened without a lease: another process locks its manifest", paths.root)
        try:
            self.require_present(paths)
        except SnapshotError:
            self.close()
            raise

    def require_present(self, paths: SnapshotPaths) -> None:
        """Check that retention has not removed the snapshot; without a lock, check again after opening it.

        Raises:
            SnapshotError: it was removed, or its manifest was replaced.
        """
        if not self._is_present(paths):
            raise SnapshotError(f"the snapshot {paths.root} was removed while it was being opened")

    def close(self) -> None:
        """Release the lease."""
        self._manifest.close()

    def _is_present(self, paths: SnapshotPaths) -> bool:
        """Return True if the locked file is still the manifest, not one that retention has just removed."""
        try:
            return os.path.samestat(os.fstat(self._manifest.fileno()), paths.manifest.stat())
        except OSError:
            return False


@contextmanager
def unleased(paths: SnapshotPaths) -> Iterator[bool]:
    """Yield True if no process has the snapshot open; False also if that can't be determined.

    If it is True, no process can acquire a lease within the block.
    """
    with ExitStack() as held:
        try:
            manifest = held.enter_context(open_regular(paths.manifest, paths.boundary))
            fcntl.flock(manifest, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            yield True
        except (OSError, SnapshotError):
            yield False
        else:
            yield True
