"""Run the service: `python -m search_service`, configured by `PARECIDO_…` in the environment."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication

from search_service.draining import DrainingArbiter, DrainingWorker
from search_service.settings import ServiceSettings
from search_service.worker_states import WorkerStates
from shared.errors import ParecidoError


class _Server(BaseApplication):  # type: ignore[misc]
    """Gunicorn, configured in code."""

    def __init__(self, settings: ServiceSettings, states: WorkerStates) -> None:
        self.settings = settings
        self._states = states
        super().__init__()

    def load_config(self) -> None:
        """Threads, since embedding and searching release the GIL; no preloading, so nothing is opened before a fork."""
        host = self.settings.host
        values: dict[str, Any] = {
            "bind": f"[{host}]:{self.settings.port}" if ":" in host else f"{host}:{self.settings.port}",  # IPv6
            "workers": self.settings.workers,
            "threads": self.settings.all_threads,
            "worker_class": DrainingWorker,
            "proc_name": "parecido",
            "child_exit": self._forget,
            "control_socket_disable": True,  # it would lie in the user's home, one for all services
        }
        for name, value in values.items():
            self.cfg.set(name, value)

    def _forget(self, _arbiter: Any, worker: Any) -> None:
        """Drop what a worker that has ended said of itself; an error in this hook would end the whole service."""
        with suppress(OSError):
            self._states.forget(worker.pid)

    def run(self) -> None:
        """Serve until stopped."""
        DrainingArbiter(self).run()

    def load(self) -> Any:
        """Make a worker's application."""
        from search_service.wsgi import make_app

        return make_app(self.settings)


def main() -> int:
    """Serve until stopped."""
    try:
        settings = ServiceSettings.from_environment(os.environ)
    except ParecidoError as error:
        print(f"parecido: {error}", file=sys.stderr)
        return error.exit_status
    with _metrics_directory() as directory:
        _Server(settings, WorkerStates(directory)).run()
    return 0


@contextmanager
def _metrics_directory() -> Iterator[Path]:
    """A fresh directory that the workers share their metrics in; prometheus_client wants it in the environment.

    A worker leaves this block too when it ends: only the process that made the directory removes it.
    """
    owner = os.getpid()
    directory = Path(tempfile.mkdtemp(prefix="parecido-metrics-"))
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(directory)
    try:
        yield directory
    finally:
        if os.getpid() == owner:
            del os.environ["PROMETHEUS_MULTIPROC_DIR"]
            shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
