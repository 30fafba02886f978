"""Opening of a published snapshot as an engine."""

from concurrent.futures import Executor
from dataclasses import dataclass

from search_service.admission.controller import AdmissionController
from search_service.engine.engine import Engine
from search_service.engine.query_decoder import QueryDecoder
from search_service.observability.logging_setup import without_native_messages
from search_service.settings import ServiceSettings
from search_service.snapshots.subprocess_verification import SMALL_ITEMS, needs_subprocess, verify_in_subprocess
from search_service.snapshots.version import SnapshotVersion
from shared.deadline import Deadline
from shared.manifest import Manifest
from shared.snapshot.data_directory import DataDirectory, SnapshotPaths
from shared.snapshot.lease import SnapshotLease
from shared.snapshot.snapshot import Snapshot
from shared.snapshot.validate_content import validate_content


def read_published(data: DataDirectory) -> SnapshotVersion:
    """Return the version that `current` names."""
    snapshot_id = data.current_id()
    return SnapshotVersion(snapshot_id, data.paths(snapshot_id).manifest.stat().st_mtime_ns)


@dataclass(frozen=True)
class EngineOpener:
    """Opens engines with what all of them share.

    Attributes:
        data: the data directory.
        settings: of the service.
        admission: of images.
        search_admission: of costly searches.
        threads: for inference.
        decoder: of query images.
    """

    data: DataDirectory
    settings: ServiceSettings
    admission: AdmissionController
    search_admission: AdmissionController
    threads: Executor
    decoder: QueryDecoder

    def open(self, snapshot_id: str, served: Manifest | None) -> Engine:
        """Open and verify a snapshot.

        While another snapshot is served, verification that may crash or takes long runs in a subprocess. The first
        snapshot is verified in this process: a subprocess would double the start-up time, and nothing is served yet
        that a crash could end.

        Args:
            snapshot_id: of the snapshot to open.
            served: manifest of the served snapshot, if any.

        Raises:
            SnapshotError: the snapshot is damaged, or was deleted.
        """
        paths = self.data.paths(snapshot_id)
        deadline = Deadline.after(self.settings.open_timeout_s)
        lease = SnapshotLease(paths)
        try:
            is_verified = served is not None and needs_subprocess(Manifest.read(paths.manifest), served)
            if is_verified:
                verify_in_subprocess(paths, 0.9 * self.settings.open_timeout_s)
            snapshot = self._open_snapshot(paths, deadline)
            lease.require_present(paths)
            if not is_verified and len(snapshot.items) <= SMALL_ITEMS:
                validate_content(snapshot, paths, deadline)
            return Engine(
                snapshot,
                self.settings.image_limits,
                self.settings.probe_coverage,
                self.settings.image_root,
                lease,
                self.admission,
                self.settings.query_views,
                self.search_admission,
                self.decoder,
            )
        except BaseException:
            lease.close()
            raise

    def _open_snapshot(self, paths: SnapshotPaths, deadline: Deadline) -> Snapshot:
        settings = self.settings
        with without_native_messages():
            return Snapshot.open(paths, settings.cores, settings.lone_threads, self.threads, settings.milvus, deadline)
