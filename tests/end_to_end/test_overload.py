"""A real service that is asked for more than it can do, whose clients leave, and whose workers are killed."""

import base64
import http.client
import io
import json
import os
import signal
import socket
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from PIL import Image

from indexer.snapshots.publish import set_current
from tests.support.processes.load import Load
from tests.support.processes.swapping import IDS, Service, running, wait_until

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

_WAIT_S = 60.0
_CLIENTS = 24


@pytest.fixture(scope="module")
def image() -> bytes:
    """Keeps a core busy for a while: noise, as PNG."""
    file = io.BytesIO()
    Image.effect_noise((1500, 1000), 60).convert("RGB").save(file, "PNG", compress_level=1)
    return file.getvalue()


def _body(image: bytes) -> bytes:
    return json.dumps({"image_base64": base64.b64encode(image).decode()}).encode()


def _request(body: bytes) -> bytes:
    head = (
        f"POST /v1/search HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _metric(service: Service, sample: str) -> float:
    """The value of one sample, named as in the text of `/metrics`."""
    lines = service.fetch("/metrics")[1].decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{sample} "))


def _ask_several_times(service: Service, body: bytes, times: int) -> list[tuple[int, str | None, Any]]:
    """Status, Retry-After and JSON of each answer, over one connection that has to stay."""
    found = []
    with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=_WAIT_S)) as connection:
        connection.connect()
        address = connection.sock.getsockname()
        for _ in range(times):
            connection.request("POST", "/v1/search", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            found.append((response.status, response.headers["Retry-After"], json.loads(response.read())))
            assert connection.sock.getsockname() == address
    return found


def test_a_flood_is_answered_or_refused_and_leaves_nothing_behind(data, image) -> None:
    set_current(data, IDS[0])
    body = _body(image)
    with running(data, workers=1, queue=2, queue_deadline_s=30) as service, ThreadPoolExecutor(_CLIENTS) as threads:
        wait_until("ready", service.is_ready)
        flood = [threads.submit(_ask_several_times, service, body, 8) for _ in range(_CLIENTS)]
        others = Counter()
        while not all(one.done() for one in flood):
            for path in ("/healthz", "/readyz", "/metrics", "/v1/items/disc%2F0.png"):
                others[service.fetch(path)[0]] += 1
            others[service.fetch("/v1/search", {"item_id": "disc/0.png"})[0]] += 1
        answers = [answer for one in flood for answer in one.result()]
        assert {status for status, _, _ in answers} == {200, 503}
        for status, retry_after, content in answers:
            if status == 503:
                assert content["error"]["code"] == "overloaded"
                assert int(retry_after) >= 1
        assert set(others) == {200}
        assert [status for status, _, _ in _ask_several_times(service, body, 3)] == [200] * 3
        refused = sum(status == 503 for status, _, _ in answers)
        assert _metric(service, 'parecido_refused_queries_total{reason="queue_full"}') == refused
        assert _metric(service, "parecido_wait_seconds_count") == len(answers) - refused + 3
        assert _metric(service, "parecido_waiting_queries") == 0


def test_nothing_is_done_for_clients_that_have_left(data, image) -> None:
    set_current(data, IDS[0])
    request, sent = _request(_body(image)), 40
    with running(data, workers=1) as service:
        wait_until("ready", service.is_ready)
        for _ in range(sent):
            with socket.create_connection(("127.0.0.1", service.port)) as client:
                client.sendall(request)
        served = "parecido_wait_seconds_count"
        gone = 'parecido_refused_queries_total{reason="client_gone"}'
        wait_until("all are dealt with", lambda: _metric(service, served) + _metric(service, gone) >= sent)
        assert _metric(service, gone) > sent / 2
        # One that had its turn may be given up later: a slow image, or a search.
        assert _metric(service, 'parecido_stage_seconds_count{stage="embed"}') <= _metric(service, served)


def test_a_killed_worker_takes_only_its_own_requests_with_it(data) -> None:
    set_current(data, IDS[0])
    photo = (data.root.parent / "catalogue" / "disc" / "1.png").read_bytes()
    killed_s: list[float] = []
    with running(data, workers=2) as service:
        wait_until("ready", service.is_ready)
        load = Load("127.0.0.1", service.port, photo, 8)
        load.start()
        for _ in range(3):
            time.sleep(1)
            wait_until("two workers", lambda: len(service.workers()) == 2)
            os.kill(service.workers()[0], signal.SIGKILL)
            killed_s.append(time.monotonic())
        wait_until("two workers", lambda: len(service.workers()) == 2)
        time.sleep(0.5)
        counts = load.end()
    assert counts.not_reached == []
    assert len(counts.failed) <= 3 * 8
    for failed in counts.failed:  # none has an answer of another worker, nor half of one that counts as whole
        assert any(cut in failed for cut in ("RemoteDisconnected", "ConnectionReset", "IncompleteRead")), failed
    assert all(any(0 <= at_s - killed < 0.5 for killed in killed_s) for at_s in counts.failed_s)
    assert sum(counts.answers.values()) > 8


def test_a_stop_under_load_fails_no_request(data) -> None:
    set_current(data, IDS[0])
    photo = (data.root.parent / "catalogue" / "disc" / "1.png").read_bytes()
    with running(data, workers=2) as service:
        wait_until("ready", service.is_ready)
        load = Load("127.0.0.1", service.port, photo, 16)
        load.start()
        time.sleep(0.5)
        service.process.terminate()
        counts = load.wait()
    assert counts.failed == []
    assert len(counts.not_reached) == 16
