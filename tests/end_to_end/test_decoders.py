"""A real service whose decoders die of uploads: it answers, counts, replaces them, and leaves none behind."""

import os
import signal
import sys
import time
from collections.abc import Callable
from http.client import HTTPConnection

import pytest

from tests.support.fakes import picture
from tests.support.hostile_images import jpeg_of_scans
from tests.support.processes.process_memory import children
from tests.support.processes.swapping import IDS, Service, running, set_current

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

_WAIT_S = 60.0
_BOUNDARY = "----parecido"
_ENDLESS = jpeg_of_scans(6400, 6400, 5000)


def _search(port: int, data: bytes) -> tuple[int, bytes]:
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="query.jpg"\r\n\r\n'
    body = head.encode() + data + f"\r\n--{_BOUNDARY}--\r\n".encode()
    return _ask(port, "POST", "/v1/search", body, {"Content-Type": f"multipart/form-data; boundary={_BOUNDARY}"})


def _ask(
    port: int, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=_WAIT_S)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _wait_until(is_so: Callable[[], bool]) -> None:
    ends_s = time.monotonic() + _WAIT_S
    while not is_so():
        assert time.monotonic() < ends_s
        time.sleep(0.02)


def _is_ready(service: Service) -> bool:
    try:
        return _ask(service.port, "GET", "/readyz")[0] == 200
    except OSError:
        return False


def _is_alive(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _below(process: int) -> list[int]:
    found = children(process)
    return found + [one for child in found for one in _below(child)]


def test_an_image_that_is_too_costly_is_refused_counted_and_known_from_then_on(data) -> None:
    with running(data, workers=1) as service:
        set_current(data, IDS[0])
        _wait_until(lambda: _is_ready(service))
        workers = service.workers()
        status, answer = _search(service.port, _ENDLESS)
        assert (status, b'"image_too_costly"' in answer) == (422, True), answer
        began_s = time.monotonic()
        for _ in range(5):
            assert _search(service.port, _ENDLESS)[0] == 422
        assert _search(service.port, picture("red", (300, 200)))[0] == 200
        metrics = _ask(service.port, "GET", "/metrics")[1].decode()
        assert 'parecido_decoders_replaced_total{reason="time"} 2.0' in metrics
        assert 'parecido_errors_total{code="image_too_costly"} 6.0' in metrics
        assert time.monotonic() - began_s < _WAIT_S / 2
        assert service.workers() == workers


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_worker_that_ends_leaves_no_decoder_behind(data, number) -> None:
    with running(data, workers=1) as service:
        set_current(data, IDS[0])
        _wait_until(lambda: _is_ready(service))
        (worker,) = service.workers()
        assert _search(service.port, picture("red", (300, 200)))[0] == 200
        processes = _below(worker)
        assert len(processes) >= 2
        os.kill(worker, number)
        _wait_until(lambda: not any(map(_is_alive, processes)))
        _wait_until(lambda: bool(service.workers()) and service.workers() != [worker])
        _wait_until(lambda: _is_ready(service))
        assert _search(service.port, picture("red", (300, 200)))[0] == 200
        processes = _below(service.process.pid)
    _wait_until(lambda: not any(map(_is_alive, processes)))
