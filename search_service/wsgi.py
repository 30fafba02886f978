"""The application as gunicorn runs it: the only place that reads the environment."""

import os

# FAISS would take every core for one request, from inside a process that handles several (faiss#1035): one OpenMP
# thread each, set before it is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from flask import Flask

from search_service.app import create_app
from search_service.engine import Engine
from search_service.settings import ServiceSettings
from search_service.snapshot_watch import SnapshotWatch
from shared.errors import NotReady
from shared.snapshot import DataDirectory, Snapshot


def make_app(settings: ServiceSettings | None = None) -> Flask:
    """Open the published snapshot, if there is one yet, and make the application."""
    settings = settings or ServiceSettings.from_environment(os.environ)

    def open_engine() -> Engine:
        data = DataDirectory(settings.data)
        paths = data.paths(data.current_id())
        snapshot = Snapshot.open(paths, settings.interpreters, settings.inference_threads)
        return Engine(snapshot, settings.image_limits, settings.probe_coverage, settings.image_root)

    watch = SnapshotWatch(open_engine)
    app = create_app(watch, settings)
    try:
        watch.engine()
    except NotReady as error:
        app.logger.warning("%s", error)
    return app
