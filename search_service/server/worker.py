"""A gunicorn worker process with an asyncio event loop."""

import asyncio
import os
import signal
import time

from gunicorn.workers.base import Worker

from search_service.server.acceptor import Acceptor

_POLL_S = 0.1
_ASK_AGAIN_S = 30.0


class HttpWorker(Worker):  # type: ignore[misc]
    """Serves until it is stopped.

    Attributes:
        is_replacement: True if it replaces a worker that has served `max_requests`; set before the fork.
    """

    is_replacement = False

    def run(self) -> None:
        """Serve; gunicorn has loaded the application."""
        if self.is_replacement:
            os.kill(self.ppid, signal.SIGTTOU)  # gunicorn then stops the oldest worker
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        from search_service.server.gateway import Gateway  # not before the fork: it imports prometheus_client

        gateway = Gateway(self.wsgi, self.app.settings)
        acceptor = Acceptor(self.sockets, gateway, self.app.settings)
        asked_s = -_ASK_AGAIN_S
        while self.alive and os.getppid() == self.ppid:
            self.notify()
            if gateway.n_responses >= self.max_requests and time.monotonic() - asked_s >= _ASK_AGAIN_S:
                asked_s = time.monotonic()
                os.kill(self.ppid, signal.SIGTTIN)  # one more worker, until this one has been stopped
            await asyncio.sleep(_POLL_S)
        # If only this worker stops, the others accept the pending connections.
        acceptor.stop(accept_pending=self.app.is_stopping())
        async for _ in acceptor.drain(self.cfg.graceful_timeout):
            self.notify()
