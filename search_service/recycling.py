"""How a worker is replaced after `PARECIDO_MAX_REQUESTS` without anybody being refused, or waiting for it.

1. A worker that has answered so many says that it is worn, and goes on.
2. The arbiter starts another one beside it.
3. Once that one serves, the arbiter tells the worn one to drain, as at a stop.

Gunicorn stops a worker first, and starts the next when it has ended: where there is one, nobody would be answered until
its last request is, and a new snapshot is open. A worker says how far it is by the length of the file that it shares
with the arbiter for its heartbeat.
"""

import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from search_service.draining import DrainingArbiter, DrainingWorker

_STARTING, _SERVING, _WORN = range(3)


class RecyclingWorker(DrainingWorker):
    """Says when it is worn."""

    max_requests: int

    def __init__(self, *args: Any, **named: Any) -> None:
        """Gunicorn adds up to `max_requests_jitter` to `max_requests`; what follows from it is done here instead."""
        super().__init__(*args, **named)
        self._worn_after = self.max_requests
        self.max_requests = sys.maxsize
        self._is_worn = False

    @property
    def is_stopping(self) -> bool:
        """Whether the service is, and not this worker alone."""
        return not self.alive and not self._is_worn

    def run(self) -> None:
        """Serve; the application is loaded by now."""
        self._say(_SERVING)
        super().run()

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer, and count."""
        is_kept_alive = super().handle_request(req, conn)
        if self.nr >= self._worn_after and not self._is_worn:
            self._is_worn = True
            self._say(_WORN)
        return is_kept_alive

    def _say(self, state: int) -> None:
        os.ftruncate(self.tmp.fileno(), state)
        self.notify()  # changing the length has set the time of the heartbeat, by another clock
        with suppress(ProcessLookupError):
            os.kill(self.ppid, signal.SIGCHLD)  # wakes the arbiter, which then looks after its workers


class RecyclingArbiter(DrainingArbiter):
    """Replaces worn workers."""

    WORKERS: Mapping[int, Any]
    _num_workers: int

    def manage_workers(self) -> None:
        """Start and stop workers until there are as many as wanted, besides the worn ones."""
        states = {pid: os.fstat(worker.tmp.fileno()).st_size for pid, worker in self.WORKERS.items()}
        worn = [pid for pid, state in states.items() if state == _WORN]
        n_wanted = self._num_workers
        n_replaced = sum(state == _SERVING for state in states.values()) + len(worn) - n_wanted
        for pid in worn[: max(0, n_replaced)]:
            self.kill_worker(pid, signal.SIGTERM)
        # No more than that at once: who is worn serves on until the one who drains has ended.
        self._num_workers = n_wanted + min(n_wanted, len(worn))
        try:
            super().manage_workers()
        finally:
            self._num_workers = n_wanted
