"""The application of a worker process, configured by the environment."""

import os
from pathlib import Path

# FAISS would use every core for one request (faiss#1035): one OpenMP thread per request, set before it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from flask import Flask

from search_service.access.api_keys import ApiKeys
from search_service.access.rate_limit import RateLimit
from search_service.admission.controller import AdmissionController, costly_search_admission
from search_service.app import create_app
from search_service.engine.feedback_log import FeedbackLog
from search_service.engine.query_decoder import QueryDecoder
from search_service.observability.metrics import Metrics
from search_service.server.malloc_tuning import return_freed_memory
from search_service.settings import ServiceSettings
from search_service.snapshots.open_engine import EngineOpener, read_published
from search_service.snapshots.watcher import SnapshotWatcher
from shared.images.decode_pool.template import DecodeTemplate
from shared.priority import inference_threads
from shared.snapshot.data_directory import DataDirectory


def make_app(settings: ServiceSettings | None = None, rate_limit: RateLimit | None = None) -> Flask:
    """Open the published snapshot, if any, make the application, and watch for the next snapshot.

    Gunicorn calls this in each worker, after the fork, since the watcher has threads. With several workers,
    `PROMETHEUS_MULTIPROC_DIR` names their shared metrics directory, and `rate_limit` is made before the fork, so that
    they count together.

    Raises:
        SettingsError: a setting or the file of API keys is invalid.
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
    opener = EngineOpener(data, settings, admission, search_admission, threads, decoder)
    watcher = SnapshotWatcher(
        lambda: read_published(data),
        lambda snapshot_id: opener.open(snapshot_id, watcher.manifest),
        metrics,
        settings.open_timeout_s,
    )
    watcher.start(settings.poll_s)
    feedback = FeedbackLog(settings.feedback) if settings.feedback else None
    keys = ApiKeys(settings.api_keys) if settings.api_keys else None
    return create_app(watcher, settings, metrics, feedback, keys, rate_limit, admission)
