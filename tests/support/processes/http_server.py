"""The HTTP layer on a real socket, in a thread of this process, in front of an application that echoes."""

import asyncio
import hashlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from flask import Flask, Response, request

from search_service.admission.controller import AdmissionController
from search_service.observability.metrics import Metrics
from search_service.server.acceptor import Acceptor
from search_service.server.gateway import Gateway
from search_service.settings import ServiceSettings

WAIT_S = 30.0
LONG_BYTES = 3_000_000


class HttpServer:
    """One that runs; `held` lets requests to paths that end in `/held` go on."""

    def __init__(self, settings: ServiceSettings, admission: AdmissionController | None = None) -> None:
        self.held = threading.Event()
        self.metrics = Metrics(0.98)
        self.gone: list[bool] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._app = self._echoing(admission or AdmissionController(1, observer=self.metrics))
        self._settings = settings
        self._stopped = threading.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        assert self._started.wait(WAIT_S)

    async def _run(self) -> None:
        self.gateway = Gateway(self._app, self._settings, lambda *_: self._settings.max_upload_bytes + 300_000)
        self.acceptor = Acceptor([self._listener], self.gateway, self._settings)
        self._started.set()
        while not self._stopped.is_set():
            await asyncio.sleep(0.005)
        self.acceptor.stop(accept_pending=True)
        async for _ in self.acceptor.drain(WAIT_S):
            pass

    def begin_to_stop(self) -> None:
        self._stopped.set()

    def stop(self) -> None:
        """Wait until all is answered; nothing is left behind then."""
        self.held.set()
        self._stopped.set()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        assert len(self.acceptor.limits) == 0
        assert self.acceptor.limits._held_bytes == 0
        assert all(not pool.of_address for pool in self.gateway._pools.values())

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=WAIT_S)

    def send(self, data: bytes) -> list[tuple[int, dict[str, str], Any]]:
        """Status, headers and content of each answer to what is sent on one connection, until it is closed."""
        with self.connect() as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            return list(answers(client))

    def ask(self, body: bytes = b"", path: str = "/", headers: dict[str, str] | None = None) -> tuple[int, Any]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=WAIT_S)) as connection:
            connection.request("POST", path, body, headers or {})
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def wait_until(self, holds: Callable[[], bool]) -> None:
        until_s = time.monotonic() + WAIT_S
        while not holds():
            assert time.monotonic() < until_s
            time.sleep(0.005)

    def _echoing(self, admission: AdmissionController) -> Flask:
        app = Flask("echo", static_folder=None)
        app.extensions.update(metrics=self.metrics, admission=admission)
        app.url_map.merge_slashes = False

        @app.route("/", defaults={"path": ""}, methods=["GET", "POST", "PUT", "OPTIONS"])
        @app.route("/<path:path>", methods=["GET", "POST", "PUT", "OPTIONS"])
        def echo(path: str) -> Response:
            if path.endswith("long"):
                return Response((bytes(1000) for _ in range(LONG_BYTES // 1000)), content_type="text/plain")
            if path.endswith("broken"):
                raise RuntimeError("as it happens")
            body = b"" if path.endswith("unread") else request.get_data(cache=False)
            if path.endswith("held"):
                assert self.held.wait(WAIT_S)
            context = request.environ["parecido.request_context"]
            if path.endswith("gone"):
                self.wait_until(context.is_disconnected)
                self.gone.append(True)
            answer = {
                "method": request.method,
                "path": request.path,
                "target": request.environ["RAW_URI"],
                "query": request.query_string.decode("latin-1"),
                "sha256": hashlib.sha256(body).hexdigest(),
                "n_bytes": len(body),
                "headers": dict(request.headers),
                "waited_s": time.monotonic() - context.arrived_s,
                "is_disconnected": context.is_disconnected(),
            }
            return app.json.response(answer)

        return app


@contextmanager
def http_server(admission: AdmissionController | None = None, **settings: Any) -> Iterator[HttpServer]:
    server = HttpServer(ServiceSettings(**settings), admission)
    try:
        yield server
    finally:
        server.stop()


def answers(client: socket.socket) -> Iterator[tuple[int, dict[str, str], Any]]:
    """Those that come on a connection, until it ends. A `100 Continue` is left out."""
    with client.makefile("rb") as received:
        while line := received.readline():
            status = int(line.split()[1])
            headers = dict(http.client.parse_headers(received).items())
            if status == 100:
                continue
            yield status, headers, _content(received.read(int(headers.get("Content-Length", "0"))), headers)


def _content(body: bytes, headers: dict[str, str]) -> Any:
    return json.loads(body) if body and headers.get("Content-Type") == "application/json" else body
