"""Snapshots swapped under load, and damaged ones refused, by a real service with two workers."""

import base64
import itertools
import re
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from indexer.snapshots.publish import set_current
from shared.snapshot.data_directory import DataDirectory
from tests.support.fakes import is_leased
from tests.support.processes.swapping import DAMAGED, IDS, Service, open_files, running, wait_until

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

_SWAPS = 50
_CLIENTS = 16
_MORE_FILES = 16  # a request thread opens `items.sqlite` at its first query, and connections come and go
_MORE_MB = 24.0  # less than one engine


@pytest.fixture(scope="module")
def service(data: DataDirectory) -> Iterator[Service]:
    with running(data, poll_s=0.02) as service:
        service.swap_to(IDS[0])
        yield service


def _used(pid: int) -> tuple[int, float]:
    """Open files and resident megabytes of a process: the most of several looks, since requests come and go."""
    looks = []
    for _ in range(10):
        status = Path(f"/proc/{pid}/status").read_text()
        looks.append((len(open_files(pid)), int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024))
        time.sleep(0.05)
    return max(files for files, _ in looks), max(megabytes for _, megabytes in looks)


# The load


class _Load:
    """Clients that search without a pause, by item and by image, and check each answer."""

    def __init__(self, service: Service, catalogue: Path) -> None:
        self._service = service
        self._images = {
            path.relative_to(catalogue).as_posix(): base64.b64encode(path.read_bytes()).decode()
            for path in sorted(catalogue.rglob("*.png"))
        }
        self._ended = threading.Event()
        self.answers: list[str] = []
        self.faults: list[str] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._ask_until_ended) for _ in range(_CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()

    def _ask_until_ended(self) -> None:
        for item_id in itertools.cycle(self._images):
            for query in ({"item_id": item_id}, {"image_base64": self._images[item_id]}):
                if self._ended.is_set():
                    return
                try:
                    self._check(item_id, *self._service.ask("/v1/search", {**query, "top_k": 4, "probe": 2}))
                except Exception as error:
                    self.faults.append(repr(error))

    def _check(self, item_id: str, status: int, answer: Any) -> None:
        snapshot_id, hits = answer.get("snapshot_id"), answer.get("hits", [])
        good = status == 200 and len(hits) == 4 and hits[0]["item_id"] == item_id
        if good and {hit["metadata"]["from"] for hit in hits} == {snapshot_id}:
            self.answers.append(snapshot_id)
        else:
            self.faults.append(f"{status} {answer}")


def test_fifty_swaps_under_load(data, service) -> None:
    load = _Load(service, data.root.parent / "catalogue")
    workers = service.workers()
    targets = list(itertools.islice(itertools.cycle([*IDS[1:], IDS[0]]), _SWAPS))
    with load.running():
        for number, snapshot_id in enumerate(targets, start=1):
            service.swap_to(snapshot_id)
            if number == 10:
                after_ten = [_used(pid) for pid in workers]
        after_all = [_used(pid) for pid in workers]
    figures = f"{len(load.answers)} answers; files and MB after ten swaps {after_ten}, after all {after_all}"
    print(figures)
    assert load.faults == []
    assert set(load.answers) == set(IDS)
    assert service.workers() == workers
    # The kernel gives the clients' connections to the workers as it likes: files are compared over both.
    assert max(files for files, _ in after_all) <= max(files for files, _ in after_ten) + _MORE_FILES, figures
    for (_, mb_before), (_, mb) in zip(after_ten, after_all, strict=True):
        assert mb <= mb_before + _MORE_MB, figures
    leased = [snapshot_id for snapshot_id in IDS if is_leased(data.paths(snapshot_id))]
    assert leased == [targets[-1]]


def test_a_damaged_snapshot_is_refused_and_the_next_good_one_is_swapped_in(data, service) -> None:
    first, second = IDS[:2]
    service.swap_to(first)
    set_current(data, DAMAGED)
    wait_until("both workers refuse it", lambda: _refusals(service) == [DAMAGED] * 20)
    status, ready = service.ask("/readyz")
    assert (status, ready["status"], ready["snapshot_id"]) == (200, "ready", first)
    assert "square.faiss is damaged" in ready["refused"]["reason"]
    assert service.ask("/v1/search", {"item_id": "disc/0.png"})[1]["snapshot_id"] == first
    wait_until("nobody has it open", lambda: not is_leased(data.paths(DAMAGED)))
    service.swap_to(second)
    assert _refusals(service) == [None] * 20
    assert service.ask("/readyz") == (200, {"status": "ready", "snapshot_id": second})


def _refusals(service: Service) -> list[str | None]:
    """What twenty answers of `/readyz`, so of both workers, say was refused; None where nothing was."""
    answers = [service.ask("/readyz")[1] for _ in range(20)]
    return [answer["refused"]["snapshot_id"] or "unknown" if "refused" in answer else None for answer in answers]


def test_without_current_the_old_snapshot_is_served_on(data, service) -> None:
    service.swap_to(IDS[2])
    data.current.unlink()
    wait_until("it is said", lambda: _refusals(service) == ["unknown"] * 20)
    status, ready = service.ask("/readyz")
    assert (status, ready["snapshot_id"]) == (200, IDS[2])
    set_current(data, IDS[2])
    wait_until("it is well again", lambda: _refusals(service) == [None] * 20)
