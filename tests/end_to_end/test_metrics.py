"""`GET /metrics` of a real service with two workers: while they swap, when one is killed, and after the end."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.parser import text_string_to_metric_families

from indexer.snapshots.publish import set_current
from shared.manifest import Manifest
from tests.support.processes.swapping import DAMAGED, IDS, Service, open_files, running, wait_until

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

_CLIENTS = 16
_SEARCHES = {"method": "POST", "route": "/v1/search", "status": "200"}


@pytest.fixture
def service(data) -> Iterator[Service]:
    with running(data) as service:
        service.swap_to(IDS[0])
        _wait_until_told(service)
        yield service


def _values(service: Service, name: str) -> list[tuple[dict[str, str], float]]:
    """The samples of one name: labels and value."""
    status, text = service.fetch("/metrics")
    assert status == 200
    families = text_string_to_metric_families(text.decode())
    return [(one.labels, one.value) for family in families for one in family.samples if one.name == name]


def _value(service: Service, name: str, **labels: str) -> float:
    return sum(value for found, value in _values(service, name) if found.items() >= labels.items())


def _served(service: Service) -> set[str]:
    found = _values(service, "parecido_snapshot_info")
    assert {value for _, value in found} == {1}
    return {labels["snapshot_id"] for labels, _ in found}


def _directory(service: Service) -> Path:
    """Where the workers share their metrics."""
    files = [Path(file) for pid in service.workers() for file in open_files(pid)]
    [directory] = {file.parent for file in files if file.parent.name.startswith("parecido-metrics-")}
    return directory


def _wait_until_told(service: Service) -> None:
    """A worker holds the lease on its first snapshot a while before it serves it."""
    directory = _directory(service)

    def serving() -> int:
        return sum(bool(json.loads(path.read_text())["served"]) for path in directory.glob("worker-*.json"))

    wait_until("both workers have told what they serve", lambda: serving() == 2)


def _search(service: Service, times: int) -> None:
    with ThreadPoolExecutor(_CLIENTS) as threads:
        asked = threads.map(lambda _: service.ask("/v1/search", {"item_id": "disc/0.png"})[0], range(times))
        assert set(asked) == {200}


def _searches_by(service: Service, pid: int) -> float:
    """What the files of one worker say."""
    files = [str(_directory(service) / f"counter_{pid}.db")]
    samples = [one for metric in MultiProcessCollector.merge(files) for one in metric.samples]
    return sum(one.value for one in samples if one.labels == _SEARCHES)


@contextmanager
def _stopped(pid: int) -> Iterator[None]:
    """Stop a worker; it goes on afterwards, if it is still there."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def test_requests_of_all_workers_add_up_exactly(service) -> None:
    first, second = service.workers()
    sent = 0
    while not (_searches_by(service, first) and _searches_by(service, second)):
        assert sent < 3200, "one worker took all requests"
        _search(service, 160)
        sent += 160
    assert _searches_by(service, first) + _searches_by(service, second) == sent
    assert _value(service, "parecido_requests_total", **_SEARCHES) == sent
    assert _value(service, "parecido_request_seconds_count", route="/v1/search") == sent
    assert _value(service, "parecido_stage_seconds_count", stage="search") == sent
    assert _value(service, "parecido_stage_seconds_count", stage="decode") == 0


def test_while_a_worker_has_not_swapped_both_snapshots_are_shown_and_then_only_the_new_one(service, data) -> None:
    behind = service.workers()[0]
    with _stopped(behind):
        set_current(data, IDS[1])
        wait_until("one worker has swapped", lambda: _served(service) == {IDS[0], IDS[1]})
        assert _value(service, "parecido_snapshot_swaps_total") == 1
    wait_until("both have", lambda: _served(service) == {IDS[1]})
    assert _value(service, "parecido_snapshot_swaps_total") == 2
    assert _value(service, "parecido_ready") == 1
    items = Manifest.read(data.paths(IDS[1]).manifest).categories
    assert _values(service, "parecido_partition_items") == [({"category": one.name}, one.items) for one in items]


def test_a_killed_worker_leaves_its_counts_and_takes_its_gauges(service, data) -> None:
    killed = service.workers()[0]
    while not _searches_by(service, killed):
        _search(service, 160)
    sent = _value(service, "parecido_requests_total", **_SEARCHES)
    with _stopped(killed):
        set_current(data, IDS[1])
        wait_until("the other one has swapped", lambda: _served(service) == {IDS[0], IDS[1]})
        os.kill(killed, signal.SIGKILL)
        wait_until("its snapshot is gone", lambda: _served(service) == {IDS[1]})
    wait_until("there is a new worker", lambda: len({*service.workers()} - {killed}) == 2)
    assert _value(service, "parecido_requests_total", **_SEARCHES) == sent
    _search(service, 160)
    assert _value(service, "parecido_requests_total", **_SEARCHES) == sent + 160
    assert _served(service) == {IDS[1]}


def test_a_worker_that_ends_by_itself_takes_nothing_but_its_gauges(service) -> None:
    ended = service.workers()[0]
    _search(service, 160)
    directory = _directory(service)
    os.kill(ended, signal.SIGTERM)
    wait_until("there is a new worker", lambda: len({*service.workers()} - {ended}) == 2)
    _wait_until_told(service)
    assert _directory(service) == directory
    assert not (directory / f"worker-{ended}.json").exists()
    assert _value(service, "parecido_requests_total", **_SEARCHES) == 160


def test_a_refused_snapshot_is_told(service, data) -> None:
    set_current(data, DAMAGED)
    wait_until("both workers refuse it", lambda: _value(service, "parecido_snapshot_refusals_total") == 2)
    assert _value(service, "parecido_snapshot_refused") == 1
    assert _value(service, "parecido_ready") == 1
    assert _served(service) == {IDS[0]}
    service.swap_to(IDS[2])
    wait_until("no worker rejects a snapshot", lambda: _value(service, "parecido_snapshot_refused") == 0)
    assert _value(service, "parecido_snapshot_refusals_total") == 2
    assert _served(service) == {IDS[2]}


def test_the_directory_is_gone_when_the_service_has_ended(data) -> None:
    with running(data) as service:
        service.swap_to(IDS[0])
        directory = _directory(service)
        assert directory.is_dir()
    assert not directory.exists()
