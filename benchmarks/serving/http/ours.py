"""The service's HTTP layer in front of the compared application; argument: `PORT`."""

import asyncio
import socket
import sys

from flask import Flask

from benchmarks.serving.http.app import wsgi
from search_service.admission.controller import AdmissionController
from search_service.observability.metrics import Metrics
from search_service.server.acceptor import Acceptor
from search_service.server.gateway import Gateway
from search_service.settings import ServiceSettings


async def _serve(port: int) -> None:
    app, metrics = Flask("tiny", static_folder=None), Metrics(0.98)
    app.extensions.update(metrics=metrics, admission=AdmissionController(1, observer=metrics))
    app.wsgi_app = wsgi  # type: ignore[method-assign]  # as middlewares are put in
    settings = ServiceSettings()
    listener = socket.create_server(("127.0.0.1", port), backlog=2048)
    Acceptor([listener], Gateway(app, settings, lambda *_: settings.max_upload_bytes), settings)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1])))
