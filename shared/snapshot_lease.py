"""Leases: whoever has a snapshot open says so, and the indexer's retention leaves it alone.

A lease is a shared lock (flock) on the snapshot's manifest. The kernel drops it with the process that holds it, so a
killed one leaves nothing behind; and it needs no more than reading, so a read-only data directory will do.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from shared.data_directory import SnapshotPaths
from shared.errors import SnapshotError


class SnapshotLease:
    """Held from its making until `close`; any number may hold one on the same snapshot."""

    def __init__(self, paths: SnapshotPaths) -> None:
        """Take it; do so before opening the snapshot.

        Args:
            paths: of the snapshot.

        Raises:
            SnapshotError: there is no manifest, or it was removed or replaced meanwhile.
        """
        try:
            self._manifest = paths.manifest.open("rb")
        except OSError as error:
            raise SnapshotError(f"the manifest {paths.manifest} can't be read: {error.strerror}") from error
        # Where the file system has no locks there is nothing to take: `unleased` counts all as leased there.
        with suppress(OSError):
            fcntl.flock(self._manifest, fcntl.LOCK_SH)
        if not self._is_at(paths):
            self.close()
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
            manifest = held.enter_context(paths.manifest.open("rb"))
            fcntl.flock(manifest, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            yield True
        except OSError:
            yield False
        else:
            yield True
