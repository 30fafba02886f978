"""The application as gunicorn runs it: the only place that reads the environment."""

import os
from concurrent.futures import Executor
from pathlib import Path

# FAISS would take every core for one request, from inside a process that handles several (faiss#1035): one OpenMP
# thread each, set before it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from flask import Flask

from search_service.access.api_keys import ApiKeys
from search_service.access.rate_limit import RateLimit
from search_service.admission.controller import AdmissionController, costly_search_admission
from search_service.app import create_app
from search_service.engine.engine import Engine
from search_service.engine.feedback_log import FeedbackLog
from search_service.engine.query_decoder import QueryDecoder
from search_service.observability.logging_setup import without_native_messages
from search_service.observability.metrics import Metrics
from search_service.server.malloc_tuning import return_freed_memory
from search_service.settings import ServiceSettings
from search_service.snapshots.subprocess_verification import SMALL_ITEMS, needs_subprocess, verify_in_subprocess
from search_service.snapshots.watcher import SnapshotVersion, SnapshotWatcher
from shared.deadline import Deadline
from shared.images.decode_pool import DecodeTemplate
from shared.manifest import Manifest
from shared.priority import inference_threads
from shared.snapshot.data_directory import DataDirectory
from shared.snapshot.lease import SnapshotLease
from shared.snapshot.snapshot import Snapshot


def make_app(settings: ServiceSettings | None = None, rate_limit: RateLimit | None = None) -> Flask:
    """Open the published snapshot, if there is one yet, make the application, and watch for the next snapshot.

    Gunicorn calls this in each worker, so after the fork: the watch has a thread. Where there are several workers,
    `PROMETHEUS_MULTIPROC_DIR` names the directory that they share their metrics in, and `rate_limit` was made before
    the fork, or each worker counts for itself.

    Raises:
        SettingsError: a setting that can't be, or a file of API keys that can't.
    """
    settings = settings or ServiceSettings.from_environment(os.environ)
    return_freed_memory()
    if rate_limit is None and settings.rate_limit is not None:
        rate_limit = RateLimit(settings.rate_limit)
    data = DataDirectory(settings.data)
    shared = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    metrics = Metrics(settings.probe_coverage, Path(shared) if shared else None)
    admission = AdmissionController(settings.slots, settings.queue, settings.queue_deadline_s, metrics)
    search_admission = costly_search_admission(settings.cores, metrics.of_searches)
    threads = inference_threads(settings.cores)
    template = DecodeTemplate(settings.image_limits)
    template.start()
    decoder = QueryDecoder(template, settings.slots, metrics)
    watch = SnapshotWatcher(
        lambda: _read_published(data),
        lambda snapshot_id: _open_engine(
            data, snapshot_id, settings, admission, search_admission, threads, watch.manifest, decoder
        ),
        metrics,
        settings.open_timeout_s,
        note_progress=metrics.watching,
    )
    watch.start(settings.poll_s)
    feedback = FeedbackLog(settings.feedback) if settings.feedback else None
    keys = ApiKeys(settings.api_keys) if settings.api_keys else None
    return create_app(watch, settings, metrics, feedback, keys, rate_limit, admission)


def _read_published(data: DataDirectory) -> SnapshotVersion:
    snapshot_id = data.current_id()
    return SnapshotVersion(snapshot_id, data.paths(snapshot_id).manifest.stat().st_mtime_ns)


def _open_engine(
    data: DataDirectory,
    snapshot_id: str,
    settings: ServiceSettings,
    admission: AdmissionController,
    search_admission: AdmissionController,
    threads: Executor,
    served: Manifest | None,
    decoder: QueryDecoder,
) -> Engine:
    """Open a snapshot; where another one is served meanwhile, once another process has, if that tells anything.

    The first one is opened at once: a process more would double the time that a service takes to start, and there is
    nothing yet that a fault in a library could end.
    """
    paths = data.paths(snapshot_id)
    deadline = Deadline.after(settings.open_timeout_s)
    lease = SnapshotLease(paths)
    try:
        is_tried = served is not None and needs_subprocess(Manifest.read(paths.manifest), served)
        if is_tried:
            verify_in_subprocess(paths, 0.9 * settings.open_timeout_s)
        with without_native_messages():
            snapshot = Snapshot.open(paths, settings.cores, settings.lone_threads, threads, settings.milvus, deadline)
        lease.require_there(paths)
        if not is_tried and len(snapshot.items) <= SMALL_ITEMS:
            snapshot.check_content(paths, deadline)
        return Engine(
            snapshot,
            settings.image_limits,
            settings.probe_coverage,
            settings.image_root,
            lease,
            admission,
            settings.query_views,
            search_admission,
            decoder,
        )
    except BaseException:
        lease.close()
        raise
