"""The service as a gunicorn application: gunicorn starts, monitors, replaces and stops the worker processes."""

import ctypes
import logging
import mmap
import os
import resource
import signal
import socket
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from gunicorn.app.base import BaseApplication

from search_service.access.rate_limit import RateLimit
from search_service.observability.logging_setup import GunicornLog
from search_service.observability.worker_counters import WorkerCounters
from search_service.observability.worker_states import WorkerStates
from search_service.server.worker import HttpWorker
from search_service.settings import ServiceSettings

_HEARTBEAT_DIRECTORY = "/dev/shm"  # noqa: S108  in memory: a heartbeat must not wait for a disk
_SO_ATTACH_FILTER = 26
_BPF_RETURN = 0x06
_log = logging.getLogger("search_service")


class GunicornApp(BaseApplication):  # type: ignore[misc]
    """Configures gunicorn in code, through its documented hooks."""

    def __init__(self, settings: ServiceSettings, directory: Path) -> None:
        """Prepare what all workers share, before the fork.

        Args:
            settings: of the service.
            directory: for metrics, shared by the workers.
        """
        self.settings = settings
        self._rate_limit = RateLimit(settings.rate_limit) if settings.rate_limit else None
        self._states = WorkerStates(directory)
        self._counters = WorkerCounters(directory)
        self._stopping = mmap.mmap(-1, 1)
        _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's options; without preloading, so that nothing is opened before a fork."""
        host = self.settings.host
        values: dict[str, Any] = {
            "bind": f"[{host}]:{self.settings.port}" if ":" in host else f"{host}:{self.settings.port}",  # IPv6
            "workers": self.settings.workers,
            "worker_class": HttpWorker,
            "proc_name": "parecido",
            "control_socket_disable": True,  # it would lie in the user's home, one for all services
            "logger_class": GunicornLog,
            "max_requests": self.settings.max_requests,
            "max_requests_jitter": self.settings.max_requests // 10,  # so that they are not all replaced at once
            "graceful_timeout": self.settings.grace_s,
            "worker_tmp_dir": _HEARTBEAT_DIRECTORY if os.access(_HEARTBEAT_DIRECTORY, os.W_OK) else None,
            "when_ready": self._log_start,
            "pre_fork": self._mark_replacement,
            "nworkers_changed": self._limit_workers,
            "child_exit": self._collect_ended,
            "on_exit": lambda _: _log.info("the service has stopped"),
        }
        for name, value in values.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Make a worker's application."""
        from search_service.wsgi import make_app  # not before the fork: it imports prometheus_client

        app = make_app(self.settings, self._rate_limit)
        app.extensions["is_stopping"] = self.is_stopping
        return app

    def is_stopping(self) -> bool:
        """Return True if the service is stopping, not only one worker; works in every process."""
        return bool(self._stopping[0])

    def _log_start(self, arbiter: Any) -> None:
        host, port = arbiter.LISTENERS[0].getsockname()[:2]  # the assigned port, if it is set to 0
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        fields = {"url": url, "data": str(self.settings.data), "workers": self.settings.workers}
        _log.info("serving %s on %s; Ctrl-C stops", self.settings.data, url, extra={"fields": fields})
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            self._install_stop_handler(number, arbiter)

    def _install_stop_handler(self, number: signal.Signals, arbiter: Any) -> None:
        """Make the kernel complete no more connections before gunicorn handles a signal to stop."""
        gunicorn_handler: Any = signal.getsignal(number)

        def stop(number: int, frame: Any) -> None:
            if not self.is_stopping():
                self._stopping[0] = 1
                for listener in arbiter.LISTENERS:
                    complete_no_more(listener.sock)
            gunicorn_handler(number, frame)

        signal.signal(number, stop)

    def _mark_replacement(self, arbiter: Any, worker: HttpWorker) -> None:
        worker.is_replacement = arbiter.num_workers > self.settings.workers

    def _limit_workers(self, arbiter: Any, new: int, old: int | None) -> None:
        """Keep the number of workers, which signals change, between the setting and twice that."""
        allowed = min(max(new, self.settings.workers), 2 * self.settings.workers)
        if new != allowed and old is not None:
            arbiter.num_workers = allowed

    def _collect_ended(self, arbiter: Any, worker: Any) -> None:
        """Drop the state of a worker that has ended, and keep its counts."""
        try:
            self._states.remove(worker.pid)
            self._counters.merge_ended(arbiter.WORKERS)
        except BlockingIOError:
            pass  # a scrape holds the lock; the next call merges these counts, too
        except Exception:  # an exception here would end the service
            _log.exception("the metrics of worker %d could not be merged", worker.pid)


def complete_no_more(listener: socket.socket) -> None:
    """Make the kernel drop packets to a listening socket, in all processes that have it open; on Linux only.

    Complete connections stay. A client that connects now retries after a second, and is refused once the socket is
    closed. Otherwise a connection could be completed between a worker's last accept and its close, and be reset.
    """
    if sys.platform != "linux":
        return
    drop_all = ctypes.create_string_buffer(struct.pack("HBBI", _BPF_RETURN, 0, 0, 0))  # linux/filter.h: sock_filter
    program = struct.pack("HP", 1, ctypes.addressof(drop_all))  # sock_fprog
    with suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
