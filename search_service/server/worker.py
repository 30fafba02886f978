"""A worker process: gunicorn's documented base class for workers, whose loop is asyncio's."""

import asyncio
import os
import signal
import time

from gunicorn.workers.base import Worker

from search_service.server.acceptor import Acceptor

_LOOK_S = 0.1
_ASK_AGAIN_S = 30.0


class HttpWorker(Worker):  # type: ignore[misc]
    """Answers requests until it is told to stop.

    Attributes:
        is_replacement: whether it takes the place of one that has answered `max_requests`; set before the fork.
    """

    is_replacement = False

    def run(self) -> None:
        """Serve; the application is loaded by now."""
        if self.is_replacement:
            os.kill(self.ppid, signal.SIGTTOU)  # gunicorn then stops the oldest worker
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        from search_service.server.gateway import Gateway  # not before the fork: it needs prometheus_client

        gateway = Gateway(self.wsgi, self.app.settings)
        acceptor = Acceptor(self.sockets, gateway, self.app.settings)
        asked_s = -_ASK_AGAIN_S
        while self.alive and os.getppid() == self.ppid:
            self.notify()
            if gateway.answered >= self.max_requests and time.monotonic() - asked_s >= _ASK_AGAIN_S:
                asked_s = time.monotonic()
                os.kill(self.ppid, signal.SIGTTIN)  # one worker more, for as long as this one goes on
            await asyncio.sleep(_LOOK_S)
        # Where this worker alone is stopped, the others accept what waits.
        acceptor.stop(accepts_all=self.app.is_stopping())
        async for _ in acceptor.drain(self.cfg.graceful_timeout):
            self.notify()
