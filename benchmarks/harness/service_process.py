"""A service process and an HTTP client for it (Linux: memory is read from /proc)."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.harness.options import REPOSITORY
from tests.support.processes.process_memory import children, memory_mb

_START_LIMIT_S = 120.0
_POLL_S = 0.01
_BOUNDARY = "parecido-benchmark-7d8f2c"
_BEFORE_IMAGE = (
    f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="query.jpg"\r\n'
    "Content-Type: image/jpeg\r\n\r\n"
).encode()
_AFTER_IMAGE = f"\r\n--{_BOUNDARY}--\r\n".encode()


@dataclass(frozen=True)
class Service:
    """A running service.

    Attributes:
        port: Port on 127.0.0.1.
        pid: Process id of the parent of the workers.
        ready_s: Seconds from start until `/readyz` answered 200.
    """

    port: int
    pid: int
    ready_s: float

    def worker_mb(self) -> dict[str, float]:
        """Return the mean memory per worker: `Rss`, and `Pss`, which divides shared pages among the processes."""
        sizes = [memory_mb(worker) for worker in children(self.pid)]
        return {name: sum(size[name] for size in sizes) / len(sizes) for name in ("Rss", "Pss")}


@contextmanager
def service(data: Path, **settings: str | int) -> Iterator[Service]:
    """Run the service until the block is left.

    Args:
        data: The data directory to serve.
        settings: Further settings of the service, such as `workers`.
    """
    port = _free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PARECIDO_")}
    environment |= {
        "PARECIDO_DATA": str(data.resolve()),
        "PARECIDO_PORT": str(port),
        **{f"PARECIDO_{name.upper()}": str(value) for name, value in settings.items()},
    }
    with _started(["-m", "search_service"], port, environment, data / "service.log") as (pid, ready_s):
        yield Service(port, pid, ready_s)


@contextmanager
def notebook_service(data: Path) -> Iterator[int]:
    """Run the baseline notebook behind Flask's development server until the block is left; yield its port."""
    port = _free_port()
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = ["-m", "benchmarks.baseline.notebook_server", str(data.resolve()), str(port)]
    with _started(command, port, environment, data / "notebook.log"):
        yield port


@contextmanager
def _started(command: list[str], port: int, environment: dict[str, str], log_path: Path) -> Iterator[tuple[int, float]]:
    """Run Python until the block is left; yield its pid and the seconds until `/readyz` answered 200."""
    with log_path.open("w") as log:
        started = time.perf_counter()
        process = subprocess.Popen([sys.executable, *command], cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
        try:
            while not _is_ready(port):
                if process.poll() is not None or time.perf_counter() - started > _START_LIMIT_S:
                    raise SystemExit(f"the service did not start:\n{log_path.read_text()}")
                time.sleep(_POLL_S)
            yield process.pid, time.perf_counter() - started
        finally:
            process.terminate()
            process.wait()


class Client:
    """A client with one keep-alive connection."""

    def __init__(self, port: int) -> None:
        """Connect and send a first request, so that later ones reuse the connection."""
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._connection.request("GET", "/healthz")
        self._connection.getresponse().read()

    def search(self, image: bytes) -> bytes:
        """Upload an image as a browser form does and read the complete response."""
        return self._post(*multipart(image))

    def search_text(self, text: str) -> bytes:
        """Search by a text and read the complete response."""
        return self._post(json.dumps({"text": text}).encode(), "application/json")

    def _post(self, body: bytes, content_type: str) -> bytes:
        self._connection.request("POST", "/v1/search", body, {"Content-Type": content_type})
        response = self._connection.getresponse()
        answer = response.read()
        if response.status != http.client.OK:
            raise SystemExit(f"the service answered {response.status}: {answer.decode(errors='replace')}")
        return answer

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()


def multipart(image: bytes) -> tuple[bytes, str]:
    """Return body and content type of a browser's form upload."""
    return _BEFORE_IMAGE + image + _AFTER_IMAGE, f"multipart/form-data; boundary={_BOUNDARY}"


def _is_ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except OSError:
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])
