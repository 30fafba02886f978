"""A real service and every hostile upload, as a form and in base64: no fault, no dead worker, little memory, soon."""

import base64
import json
import sys
import time
from collections import Counter
from http.client import HTTPConnection
from pathlib import Path

import pytest
from hostile_images import hostile_images
from swapping import IDS, running

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

_MAX_S = 2.0
_MAX_GROWTH_BYTES = 200_000_000
_BOUNDARY = "----parecido"
_WAIT_S = 30


def _form(data: bytes) -> tuple[bytes, str]:
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="query.jpg"\r\n\r\n'
    return head.encode() + data + f"\r\n--{_BOUNDARY}--\r\n".encode(), f"multipart/form-data; boundary={_BOUNDARY}"


def _json(data: bytes) -> tuple[bytes, str]:
    return json.dumps({"image_base64": base64.b64encode(data).decode()}).encode(), "application/json"


def _post(port: int, body: bytes, content_type: str) -> tuple[int, bytes, float]:
    """Status, answer, and the seconds that it took."""
    connection = HTTPConnection("127.0.0.1", port, timeout=_WAIT_S)
    started = time.monotonic()
    try:
        connection.request("POST", "/v1/search", body, {"Content-Type": content_type})
        response = connection.getresponse()
        return response.status, response.read(), time.monotonic() - started
    finally:
        connection.close()


def _memory(worker: int, name: str) -> int:
    lines = Path(f"/proc/{worker}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1024


def test_hostile_uploads_leave_the_service_as_it_was(data) -> None:
    statuses: Counter[int] = Counter()
    slow: list[tuple[str, float]] = []
    with running(data) as service:
        service.swap_to(IDS[0])
        workers = service.workers()
        good = next(image for name, image in hostile_images() if name == "JPEG/whole")
        for _ in range(40):
            assert _post(service.port, *_form(good))[0] == 200
        before = {worker: _memory(worker, "VmRSS") for worker in workers}
        for worker in workers:
            Path(f"/proc/{worker}/clear_refs").write_text("5")  # forgets the peak
        for name, image in hostile_images():
            for encode in (_form, _json):
                status, answer, seconds = _post(service.port, *encode(image))
                assert status in (200, 413, 415, 422), (name, answer)
                assert "hits" in json.loads(answer) or json.loads(answer)["error"]["message"].startswith("the image")
                statuses[status] += 1
                if seconds > _MAX_S:
                    slow.append((name, seconds))
        assert service.workers() == workers
        growth = [_memory(worker, "VmHWM") - before[worker] for worker in workers]
        assert _post(service.port, *_form(good))[0] == 200
    assert sum(statuses.values()) >= 2000
    assert statuses.keys() == {200, 413, 415, 422}
    print(statuses, growth)
    assert max(growth) < _MAX_GROWTH_BYTES
    assert slow == []
    print(statuses, growth)
