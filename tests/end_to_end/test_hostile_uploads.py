"""A real service and hostile uploads, each third in base64 too: no fault, no dead worker, little memory, soon.

Of those that differ in where a file is cut or which bits are wrong, every fourth is sent; tests/shared decodes all.
Seconds are the processor's: on a busy machine an answer takes longer.
"""

import base64
import json
import sys
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection

import pytest

from tests.support.hostile_images import hostile_images
from tests.support.processes.swapping import IDS, running
from tests.support.processes.watched_processes import Watched, memory_bytes

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

_MAX_S = 3.0
_MAX_GROWTH_BYTES = 350_000_000  # of the whole service, where pages that processes share count for each
_BOUNDARY = "----parecido"
_WAIT_S = 30
_OF_MANY = ("/cut at ", "/flipped ", " bits in the compression ")


def _form(data: bytes) -> tuple[bytes, str]:
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="query.jpg"\r\n\r\n'
    return head.encode() + data + f"\r\n--{_BOUNDARY}--\r\n".encode(), f"multipart/form-data; boundary={_BOUNDARY}"


def _json(data: bytes) -> tuple[bytes, str]:
    return json.dumps({"image_base64": base64.b64encode(data).decode()}).encode(), "application/json"


def _post(port: int, body: bytes, content_type: str) -> tuple[int, bytes]:
    """Status and answer."""
    connection = HTTPConnection("127.0.0.1", port, timeout=_WAIT_S)
    try:
        connection.request("POST", "/v1/search", body, {"Content-Type": content_type})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def _uploads() -> Iterator[tuple[str, bytes]]:
    for number, (name, image) in enumerate(hostile_images()):
        if number % 4 == 0 or not any(kind in name for kind in _OF_MANY):
            yield name, image


def test_hostile_uploads_leave_the_service_as_it_was(data) -> None:
    statuses: Counter[int] = Counter()
    slowest, largest = (0.0, ""), (0, "")
    with running(data) as service:
        service.swap_to(IDS[0])
        workers, process = service.workers(), service.process.pid
        good = next(image for name, image in hostile_images() if name == "JPEG/whole")
        for _ in range(40):
            assert _post(service.port, *_form(good))[0] == 200
        idle_bytes = memory_bytes(process)
        for number, (name, image) in enumerate(_uploads()):
            for encode in (_form, _json) if number % 3 == 0 else (_form,):
                with Watched(process) as taken:
                    status, answer = _post(service.port, *encode(image))
                slowest = max(slowest, (taken.cpu_s, name))
                largest = max(largest, (taken.peak_bytes - idle_bytes, name))
                assert status in (200, 413, 415, 422), (name, answer)
                assert "hits" in json.loads(answer) or json.loads(answer)["error"]["message"].startswith("the image")
                statuses[status] += 1
        assert service.workers() == workers
        assert _post(service.port, *_form(good))[0] == 200
    assert sum(statuses.values()) >= 800
    assert statuses.keys() == {200, 413, 415, 422}
    assert largest < (_MAX_GROWTH_BYTES, "")
    assert slowest < (_MAX_S, "")
