"""The process that answers requests: gunicorn's threaded worker, but one that loses none when it is stopped."""

from select import select
from typing import Any

from gunicorn.workers.gthread import ThreadWorker


class DrainingWorker(ThreadWorker):  # type: ignore[misc]
    """Once told to stop, takes in every connection that has reached it, and then listens no more.

    Gunicorn's own listens until its last request has ended, without accepting: the kernel goes on completing
    connections meanwhile, and resets them all at the end.
    """

    sockets: list[Any]

    def set_accept_enabled(self, enabled: bool) -> None:
        """Accept connections or not; for good where the worker was told to stop."""
        super().set_accept_enabled(enabled)
        if enabled or self.alive:
            return
        for listener in self.sockets:
            while select([listener], [], [], 0)[0]:
                self.accept(listener)
            listener.close()
        self.sockets = []
