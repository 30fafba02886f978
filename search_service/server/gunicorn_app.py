"""The processes of the service: gunicorn starts, watches, replaces and stops the workers, by its documented hooks."""

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

_MEMORY = "/dev/shm"  # noqa: S108  a worker's heartbeat must not wait for a disk
_SO_ATTACH_FILTER = 26
_RETURN = 0x06
_log = logging.getLogger("search_service")


class GunicornApp(BaseApplication):  # type: ignore[misc]
    """Gunicorn, configured in code."""

    def __init__(self, settings: ServiceSettings, directory: Path) -> None:
        """Prepare what all workers share, before the fork.

        Args:
            settings: of the service.
            directory: that the workers share their counts in.
        """
        self.settings = settings
        self._rate_limit = RateLimit(settings.rate_limit) if settings.rate_limit else None
        self._states = WorkerStates(directory)
        self._counts = WorkerCounters(directory)
        self._stopping = mmap.mmap(-1, 1)
        _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
        super().__init__()

    def load_config(self) -> None:
        """No preloading, so that nothing is opened before a fork."""
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
            "worker_tmp_dir": _MEMORY if os.access(_MEMORY, os.W_OK) else None,
            "when_ready": self._listens,
            "pre_fork": self._tell_replacement,
            "nworkers_changed": self._keep_number,
            "child_exit": self._forget,
            "on_exit": lambda _: _log.info("the service has stopped"),
        }
        for name, value in values.items():
            self.cfg.set(name, value)

    def load(self) -> Any:
        """Make a worker's application."""
        from search_service.wsgi import make_app

        app = make_app(self.settings, self._rate_limit)
        app.extensions["is_stopping"] = self.is_stopping
        return app

    def is_stopping(self) -> bool:
        """Whether the service is, and not one worker alone; asked in any process."""
        return bool(self._stopping[0])

    def _listens(self, arbiter: Any) -> None:
        host, port = arbiter.LISTENERS[0].getsockname()[:2]  # the port that was found, where 0 was wanted
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        fields = {"url": url, "data": str(self.settings.data), "workers": self.settings.workers}
        _log.info("serving %s on %s; Ctrl-C stops", self.settings.data, url, extra={"fields": fields})
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            self._before_stopping(number, arbiter)

    def _before_stopping(self, number: signal.Signals, arbiter: Any) -> None:
        """Have the kernel complete no more connections before gunicorn hears of a signal to stop."""
        then: Any = signal.getsignal(number)

        def stop(number: int, frame: Any) -> None:
            if not self.is_stopping():
                self._stopping[0] = 1
                for listener in arbiter.LISTENERS:
                    complete_no_more(listener.sock)
            then(number, frame)

        signal.signal(number, stop)

    def _tell_replacement(self, arbiter: Any, worker: HttpWorker) -> None:
        worker.is_replacement = arbiter.num_workers > self.settings.workers

    def _keep_number(self, arbiter: Any, new: int, old: int | None) -> None:
        """Signals of workers change how many there are: never to fewer than wanted, or more than twice as many."""
        allowed = min(max(new, self.settings.workers), 2 * self.settings.workers)
        if new != allowed and old is not None:
            arbiter.num_workers = allowed

    def _forget(self, arbiter: Any, worker: Any) -> None:
        """Drop what a worker that has ended said of itself, and keep what it has counted."""
        try:
            self._states.forget(worker.pid)
            self._counts.keep(arbiter.WORKERS)
        except BlockingIOError:
            pass  # somebody reads them: the next one that ends makes up for it
        except Exception:  # it would end the whole service
            _log.exception("the counts of worker %d stay in files of their own", worker.pid)


def complete_no_more(listener: socket.socket) -> None:
    """Have the kernel drop what comes to a listening socket, in whatever process it is open, where it can do so.

    Connections that are complete stay. Who connects now tries again after a second, and is refused once the socket is
    closed. Otherwise one could be completed between a worker's last look at what waits and its close, and be reset.
    """
    if sys.platform != "linux":
        return
    keep_nothing = ctypes.create_string_buffer(struct.pack("HBBI", _RETURN, 0, 0, 0))  # linux/filter.h: sock_filter
    program = struct.pack("HP", 1, ctypes.addressof(keep_nothing))  # sock_fprog
    with suppress(OSError):
        listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
