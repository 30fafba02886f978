"""Leases: whoever has a snapshot open says so, and the indexer's retention leaves it alone.

A lease is a shared lock (flock) on the snapshot's manifest. The kernel drops it with the process that holds it, so a
killed one leaves nothing behind; and it needs no more than reading, so a read-only data directory will do.

Whoever may read the manifest may also lock it exclusively, for ever. So a lease is waited for only briefly, and then
the snapshot is opened without one: a refusal would let any reader of the file keep the service from starting and from
swapping. What that risks is little: retention never removes the published snapshot, and while the other lock is held
retention does not get its own and leaves the snapshot alone too.
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
    """Held from its making until `close`; any number may hold one on the same snapshot."""

    def __init__(self, paths: SnapshotPaths, wait_s: float = _WAIT_S) -> None:
        """Take it; do so before opening the snapshot. Where others lock the manifest, that is logged.

        Args:
            paths: of the snapshot.
            wait_s: seconds to wait for others that lock the manifest.

        Raises:
            SnapshotError: there is no manifest, or it was removed or replaced meanwhile.
        """
        try:
            self._manifest = open_regular(paths.manifest, paths.boundary)
        except OSError as error:
            raise SnapshotError(f"the manifest {paths.manifest} can't be read: {error.strerror}") from error
        # Where the file system has no locks there is nothing to take: `unleased` counts all as leased there.
        with suppress(OSError):
            if not lock_within(self._manifest, fcntl.LOCK_SH, wait_s):
                _log.warning("%s is opened without a lease: another process locks its manifest", paths.root)
        try:
            self.require_there(paths)
        except SnapshotError:
            self.close()
            raise

    def require_there(self, paths: SnapshotPaths) -> None:
        """Refuse a snapshot that retention has removed; where there is no lock, ask again after opening it.

        Raises:
            SnapshotError: it was removed, or its manifest replaced.
        """
        if not self._is_at(paths):
            raise SnapshotError(f"the snapshot {paths.root} was removed while it was being opened")

    def close(self) -> None:
        """Give it back."""
        self._manifest.close()

    def _is_at(self, paths: SnapshotPaths) -> bool:
        """Whether what was locked is still the manifest, not one that retention removed just before."""
        try:
            return os.path.samestat(os.fstat(self._manifest.fileno()), paths.manifest.stat())
        except OSError:
            return False


@contextmanager
def unleased(paths: SnapshotPaths) -> Iterator[bool]:
    """Whether nobody has the snapshot open, in whatever process; False as well where that can't be told.

    Where it is True, nobody gets a lease before the block is left.
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
