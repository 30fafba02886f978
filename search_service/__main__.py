"""Run the service: `python -m search_service`, configured by `PARECIDO_…` in the environment."""

import logging
import os
import sys
from pathlib import Path
from typing import Any

import gunicorn.http.wsgi
from gunicorn.app.base import BaseApplication

from search_service.auth import ApiKeys, new_key
from search_service.logs import GunicornLog, configure
from search_service.metrics_directory import metrics_directory
from search_service.rate_limit import RateLimit
from search_service.recycling import RecyclingArbiter, RecyclingWorker
from search_service.settings import ServiceSettings
from search_service.shared_counts import SharedCounts
from search_service.worker_states import WorkerStates
from shared.errors import ParecidoError, SettingsError

# A worker's heartbeat must not wait for a disk.
_MEMORY = "/dev/shm"  # noqa: S108
_log = logging.getLogger("search_service")


class _Server(BaseApplication):  # type: ignore[misc]
    """Gunicorn, configured in code."""

    def __init__(self, settings: ServiceSettings, directory: Path) -> None:
        self.settings = settings
        # Made before the fork, so all workers count together.
        self._rate_limit = RateLimit(settings.rate_limit) if settings.rate_limit else None
        self._states = WorkerStates(directory)
        self._counts = SharedCounts(directory)
        super().__init__()

    def load_config(self) -> None:
        """Threads, since embedding and searching release the GIL; no preloading, so nothing is opened before a fork."""
        host = self.settings.host
        values: dict[str, Any] = {
            "bind": f"[{host}]:{self.settings.port}" if ":" in host else f"{host}:{self.settings.port}",  # IPv6
            "workers": self.settings.workers,
            "threads": self.settings.all_threads,
            "worker_class": RecyclingWorker,
            "proc_name": "parecido",
            "child_exit": self._forget,
            "control_socket_disable": True,  # it would lie in the user's home, one for all services
            "logger_class": GunicornLog,
            "when_ready": self._say_where,
            "on_exit": lambda _: _log.info("the service has stopped"),
            "max_requests": self.settings.max_requests,
            "max_requests_jitter": self.settings.max_requests // 10,  # so that they are not all replaced at once
            "post_worker_init": _tell_application,
            "graceful_timeout": self.settings.grace_s,
            "keepalive": 75,  # proxies keep theirs for a minute: it is they who close, not we under their next request
            "limit_request_line": 8190,  # an item id may be long, and three times as long when it is percent-encoded
            "forwarded_allow_ips": "",  # nothing here depends on what a proxy says
            "worker_tmp_dir": _MEMORY if os.access(_MEMORY, os.W_OK) else None,
        }
        for name, value in values.items():
            self.cfg.set(name, value)

    def _say_where(self, arbiter: Any) -> None:
        host, port = arbiter.LISTENERS[0].getsockname()[:2]  # the port that was found, where 0 was wanted
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        fields = {"url": url, "data": str(self.settings.data), "workers": self.settings.workers}
        _log.info("serving %s on %s; Ctrl-C stops", self.settings.data, url, extra={"fields": fields})

    def _forget(self, arbiter: Any, worker: Any) -> None:
        """Drop what a worker that has ended said of itself, and keep what it has counted."""
        try:
            self._states.forget(worker.pid)
            self._counts.keep(arbiter.WORKERS)
        except BlockingIOError:
            pass  # somebody reads them: the next one that ends makes up for it
        except Exception:  # it would end the whole service
            _log.exception("the counts of worker %d stay in files of their own", worker.pid)

    def run(self) -> None:
        """Serve until stopped."""
        RecyclingArbiter(self).run()

    def load(self) -> Any:
        """Make a worker's application."""
        from search_service.wsgi import make_app

        return make_app(self.settings, self._rate_limit)


def _tell_application(worker: RecyclingWorker) -> None:
    """Have `/readyz` know of a stop, and the worker of the door."""
    worker.wsgi.extensions["is_stopping"] = lambda: worker.is_stopping
    worker.door = worker.wsgi.extensions["door"]


def main() -> int:
    """Serve until stopped."""
    try:
        if sys.argv[1:2] == ["new-key"]:
            return _new_key(sys.argv[2:])
        settings = ServiceSettings.from_environment(os.environ)
        if settings.api_keys:
            ApiKeys(settings.api_keys)  # a bad file ends the service now, not each worker
    except ParecidoError as error:
        print(f"parecido: {error}", file=sys.stderr)
        return error.exit_status
    configure(settings.log_format, settings.log_level)
    gunicorn.http.wsgi.SERVER = "parecido"  # in the header `Server`, which cannot be left out
    if settings.is_exposed:
        _log.warning(
            "listening on %s without PARECIDO_API_KEYS or PARECIDO_RATE_LIMIT: "
            "whoever reaches it may use it as much as they like",
            settings.host,
        )
    with metrics_directory() as directory:
        _Server(settings, directory).run()
    return 0


def _new_key(names: list[str]) -> int:
    """Print a key, which is kept nowhere, and the line that lets it in."""
    if len(names) != 1:
        raise SettingsError("wanted one name: python -m search_service new-key NAME")
    key, line = new_key(names[0])
    print(f"the key, shown once: {key}\na line for the file that PARECIDO_API_KEYS names:\n{line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
