"""Workers replaced under load, one that hangs, and what the log and the metrics say of it; a real service."""

import http.client
import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from indexer.snapshots.publish import set_current
from tests.support.processes.load import Load
from tests.support.processes.swapping import IDS, Service, open_files, running, wait_until

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

_CLIENTS = 8


def _log(service: Service) -> list[dict]:
    return [json.loads(line) for line in service.data.root.with_name("service.log").read_text().splitlines()]


def _counted(service: Service) -> float:
    text = service.fetch("/metrics")[1].decode()
    samples = [one for family in text_string_to_metric_families(text) for one in family.samples]
    searches = {"method": "POST", "route": "/v1/search", "status": "200"}
    return sum(one.value for one in samples if one.name == "parecido_requests_total" and one.labels == searches)


def _files(service: Service) -> int:
    """How many files the workers' counts are in, also those of workers that have ended."""
    found = [Path(file).parent for pid in service.workers() for file in open_files(pid) if "/parecido-metrics-" in file]
    return len(list(found[0].glob("*.db"))) if found else sys.maxsize


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_are_replaced_under_load_and_no_request_fails(data, workers) -> None:
    set_current(data, IDS[0])
    with running(data, WORKERS=str(workers), MAX_REQUESTS="50") as service:
        wait_until("the service is ready", lambda: service.is_ready())
        first = set(service.workers())
        load = Load("127.0.0.1", service.port, (data.root.parent / "catalogue/disc/0.png").read_bytes(), _CLIENTS)
        load.start()
        seen = set(first)

        def are_replaced() -> bool:
            seen.update(service.workers())
            return len(seen - first) >= 3

        wait_until("workers were replaced", are_replaced)
        counts = load.end()
        assert (counts.failed, counts.not_reached) == ([], [])
        sent = sum(counts.answers.values())
        assert sent > 50
        assert _counted(service) == sent
        wait_until("what drains has ended", lambda: _files(service) <= 4 * workers + 2)
        assert _counted(service) == sent
    lines = _log(service)
    assert [line for line in lines if line["level"] != "info"] == []
    told = [line for line in lines if line.get("route") == "/v1/search"]
    assert len(told) == len({line["request_id"] for line in told}) == sent
    assert {line["pid"] for line in told} >= first


def test_a_kept_connection_is_answered_while_its_worker_is_replaced_and_closed_then(data) -> None:
    set_current(data, IDS[0])
    with running(data, WORKERS="1", MAX_REQUESTS="10") as service:
        wait_until("the service is ready", lambda: service.is_ready())
        [first] = service.workers()
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        statuses, closings = [], 0
        while closings < 2:
            connection.request("GET", "/readyz")  # a worker that is replaced says nothing of a stop
            response = connection.getresponse()
            response.read()
            statuses.append(response.status)
            closings += response.will_close
            assert len(statuses) < 20_000
            time.sleep(0.005)
        connection.close()
        assert set(statuses) == {200}
        wait_until("the first worker is gone", lambda: first not in service.workers())


def test_while_it_stops_readyz_says_so_on_connections_that_are_open(data) -> None:
    set_current(data, IDS[0])
    with running(data, WORKERS="1") as service:
        wait_until("the service is ready", lambda: service.is_ready())
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)
        connection.request("GET", "/readyz")
        assert connection.getresponse().read()
        service.process.terminate()
        time.sleep(0.5)
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        assert response.status == 503
        assert json.load(response)["error"]["message"].startswith("the service is shutting down")
        with pytest.raises(OSError, match=r"refused|timed out"):
            http.client.HTTPConnection("127.0.0.1", service.port, timeout=0.5).connect()


def test_a_killed_worker_is_replaced_and_told(data) -> None:
    set_current(data, IDS[0])
    with running(data, WORKERS="1") as service:
        wait_until("the service is ready", lambda: service.is_ready())
        [first] = service.workers()
        os.kill(first, signal.SIGKILL)
        wait_until("there is another one", lambda: service.workers() not in ([], [first]))
        wait_until("which is ready", lambda: service.is_ready())
    assert [line for line in _log(service) if "SIGKILL" in line["message"] and line["level"] == "error"]
