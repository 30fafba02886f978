"""HTTP servers with one small application, each in a process of its own."""

import http.client
import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.options import REPOSITORY

OURS = "ours"
COMMANDS = {
    OURS: "benchmarks.serving.http.ours {port}",
    "waitress": "waitress --listen=127.0.0.1:{port} --threads=8 --connection-limit=1000 --channel-timeout=10 "
    "--cleanup-interval=1 --max-request-header-size=32768 --asyncore-use-poll benchmarks.serving.http.app:wsgi",
    "hypercorn": "hypercorn --bind 127.0.0.1:{port} --backlog 1024 --keep-alive 10 --read-timeout 10 "
    "benchmarks.serving.http.app:asgi",
    "uvicorn, h11": "uvicorn --port {port} --http h11 --limit-concurrency 1000 --timeout-keep-alive 10 "
    "--no-access-log --h11-max-incomplete-event-size 32768 benchmarks.serving.http.app:asgi",
    "uvicorn, httptools": "uvicorn --port {port} --http httptools --limit-concurrency 1000 --timeout-keep-alive 10 "
    "--no-access-log benchmarks.serving.http.app:asgi",
    "granian, WSGI": "granian --port {port} --interface wsgi --blocking-threads 8 --backpressure 1000 "
    "--http1-header-read-timeout 10000 --http1-buffer-size 32768 benchmarks.serving.http.app:wsgi",
    "granian, ASGI": "granian --port {port} --interface asginl --backpressure 1000 "
    "--http1-header-read-timeout 10000 --http1-buffer-size 32768 benchmarks.serving.http.app:asgi",
    "tornado": "benchmarks.serving.http.tornado {port}",
    "gunicorn, gthread": "gunicorn --bind 127.0.0.1:{port} --worker-class gthread --threads 8 --keep-alive 10 "
    "--worker-connections 1000 --no-control-socket benchmarks.serving.http.app:wsgi",
    "gunicorn, asgi": "gunicorn --bind 127.0.0.1:{port} --worker-class asgi --keep-alive 10 --timeout 10 "
    "--worker-connections 1000 --no-control-socket benchmarks.serving.http.app:asgi",
}
ANSWER_S = 5.0


@dataclass(frozen=True)
class Running:
    """A running server.

    Attributes:
        name: key of `COMMANDS`.
        port: on 127.0.0.1.
        pid: of its process.
    """

    name: str
    port: int
    pid: int


@contextmanager
def running(name: str, python: Path) -> Iterator[Running]:
    """Run a server until the block is left."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = COMMANDS[name].format(port=port)
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [str(python), "-m", *command.split()], cwd=REPOSITORY, env=environment, stdout=log, stderr=log
        )
        try:
            server = Running(name, port, process.pid)
            until_s = time.monotonic() + 60
            while healthz_s(server) is None:
                if process.poll() is not None or time.monotonic() > until_s:
                    log.seek(0)
                    raise SystemExit(f"{name} did not start:\n{log.read()}")
                time.sleep(0.1)
            yield server
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
            process.kill()
            process.wait()


def healthz_s(server: Running) -> float | None:
    """Return the seconds of a request on a new connection, or None without a successful response."""
    began_s = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=ANSWER_S)
    with closing(connection), suppress(OSError, http.client.HTTPException):
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        response.read()
        return time.perf_counter() - began_s if response.status == 200 else None
    return None
