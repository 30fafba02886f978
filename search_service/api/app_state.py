"""The parts that `create_app` gave the running application."""

from collections.abc import Iterator
from contextlib import contextmanager

from flask import current_app

from search_service.api.access_control import is_operator
from search_service.engine.engine import Engine
from search_service.engine.feedback_log import FeedbackLog
from search_service.observability.metrics import Metrics
from search_service.observability.request_log import note_snapshot
from search_service.settings import ServiceSettings
from search_service.snapshots.watcher import SnapshotWatcher
from shared.errors import FeedbackOff


@contextmanager
def current_engine() -> Iterator[Engine]:
    """Keep the served engine open during the block.

    Raises:
        NotReady: no snapshot is served.
        StoreUnavailable: no snapshot is served, since the vector server does not answer.
    """
    watcher = current_watcher()
    if not watcher.is_serving:
        raise watcher.not_serving_error(is_operator())
    with watcher.engine() as engine:
        note_snapshot(engine.snapshot_id)
        yield engine


def current_watcher() -> SnapshotWatcher:
    """Return the watcher of the published snapshot."""
    watcher: SnapshotWatcher = current_app.extensions["snapshot_watcher"]
    return watcher


def current_metrics() -> Metrics:
    """Return the metrics."""
    metrics: Metrics = current_app.extensions["metrics"]
    return metrics


def current_feedback_log() -> FeedbackLog:
    """Return the log of feedback.

    Raises:
        FeedbackOff: the service keeps none.
    """
    log: FeedbackLog | None = current_app.extensions["feedback"]
    if log is None:
        raise FeedbackOff("this service keeps no feedback; PARECIDO_FEEDBACK has to name a file for it")
    return log


def current_settings() -> ServiceSettings:
    """Return the settings of the service."""
    settings: ServiceSettings = current_app.extensions["settings"]
    return settings
