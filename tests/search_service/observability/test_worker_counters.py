"""Counts of real processes that end, killed or not, while others are counted and read."""

import errno
import fcntl
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from search_service.observability import worker_counters as shared_counts
from search_service.observability.metrics import Metrics
from search_service.observability.worker_counters import WorkerCounters
from shared.errors import Overloaded

_ROOT = Path(__file__).parents[3]
_WORKER = """
import os, signal
from pathlib import Path
from search_service.observability.metrics import Metrics
metrics = Metrics(0.98, Path(os.environ["PROMETHEUS_MULTIPROC_DIR"]))
for number in range({times}):
    metrics.request("/x" if number % 2 else None, "GET", 200, number / 100)
metrics.error("é \\n \\"")
print(os.getpid(), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
# A parent that forks workers as gunicorn does, and one that reads all the while.
_PARENT = """
import os, sys
from pathlib import Path
from search_service.observability.metrics import Metrics  # before the forks, to be quick
from search_service.observability.worker_counters import WorkerCounters

directory = Path(os.environ["PROMETHEUS_MULTIPROC_DIR"])

def worker():
    metrics = Metrics(0.98, directory)
    for _ in range(200):
        metrics.request("/x", "GET", 200, 0.03)
    os._exit(0)

def reader(is_over):
    before = reads = 0
    while not os.path.exists(is_over):
        samples = [one for metric in WorkerCounters(directory).collect() for one in metric.samples]
        now = sum(one.value for one in samples if one.name == "parecido_requests_total")
        assert now >= before, (before, now)
        before, reads = now, reads + 1
    print(reads, before, flush=True)
    os._exit(0)

def fork(what, *given):
    if pid := os.fork():
        return pid
    try:
        what(*given)
    finally:
        os._exit(1)

is_over = str(directory / "over")
reading = fork(reader, is_over)
counts, alive, refused = WorkerCounters(directory), set(), 0
for round in range(20):
    alive.update(fork(worker) for _ in range(2))
    while alive:
        pid, status = os.wait()
        assert status == 0 and pid != reading
        alive.remove(pid)
        try:
            counts.merge_ended(alive | {reading})
        except BlockingIOError:
            refused += 1
Path(is_over).touch()
assert os.waitpid(reading, 0)[1] == 0
if refused:
    counts.merge_ended(set())
"""


def _run(script: str, directory: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PROMETHEUS_MULTIPROC_DIR": str(directory)}
    command = [sys.executable, "-c", script]
    return subprocess.run(command, cwd=_ROOT, env=environment, capture_output=True, text=True, check=False)


def _count(directory: Path, times: int = 10) -> int:
    """A worker that counts so many requests and is killed; its process id."""
    return int(_run(_WORKER.format(times=times), directory).stdout)


def _told(directory: Path) -> dict[str, float]:
    """Everything that is counted, but for what `merge_ended` itself counts and what waits in a worker that is alive."""
    lines = re.findall(
        r"^(parecido_(?!workers|memory|open|cpu|waiting).*) (\S+)$", Metrics(0.98, directory).text().decode(), re.M
    )
    return {name: float(value) for name, value in lines}


def test_what_workers_leave_becomes_one_file_a_kind_and_nothing_is_lost(tmp_path) -> None:
    for times in (10, 7, 0, 3):
        _count(tmp_path, times)
    before = _told(tmp_path)
    assert before['parecido_requests_total{method="GET",route="/x",status="200"}'] == 9
    assert before['parecido_request_seconds_bucket{le="0.025",route="/x"}'] == 3
    assert before['parecido_errors_total{code="é \\n \\""}'] == 4
    counts = WorkerCounters(tmp_path)
    for _ in range(2):
        counts.merge_ended(())
        assert sorted(path.name for path in tmp_path.glob("*.db")) == ["counter_ended.db", "histogram_ended.db"]
        assert _told(tmp_path) == before
    _count(tmp_path, 2)
    counts.merge_ended(())
    assert _told(tmp_path)['parecido_requests_total{method="GET",route="/x",status="200"}'] == 10


def test_files_of_workers_that_are_alive_are_theirs(tmp_path) -> None:
    alive, ended = _count(tmp_path), _count(tmp_path)
    before = _told(tmp_path)
    WorkerCounters(tmp_path).merge_ended([alive])
    assert (tmp_path / f"counter_{alive}.db").exists()
    assert not (tmp_path / f"counter_{ended}.db").exists()
    assert _told(tmp_path) == before


def test_ended_workers_are_counted_also_where_they_left_nothing(tmp_path) -> None:
    counts = WorkerCounters(tmp_path)
    for number in (1, 2, 3):
        counts.merge_ended(())
        assert f"parecido_workers_ended_total {number:.1f}" in Metrics(0.98, tmp_path).text().decode()
    assert "parecido_workers_ended_total 0.0" in Metrics(0.98).text().decode()


def test_gauges_end_with_their_worker(tmp_path) -> None:
    pid = _count(tmp_path)
    (tmp_path / f"gauge_livesum_{pid}.db").write_bytes(b"")
    WorkerCounters(tmp_path).merge_ended(())
    assert list(tmp_path.glob("gauge*")) == []


def test_while_somebody_reads_nothing_is_touched_and_the_next_call_makes_up_for_it(tmp_path) -> None:
    _count(tmp_path)
    before = sorted(tmp_path.glob("*.db"))
    counts = WorkerCounters(tmp_path)
    with counts._locked(fcntl.LOCK_SH), pytest.raises(BlockingIOError):
        counts.merge_ended(())
    assert sorted(tmp_path.glob("*.db")) == before
    counts.merge_ended(())
    assert "parecido_workers_ended_total 2.0" in Metrics(0.98, tmp_path).text().decode()
    assert len(list(tmp_path.glob("*.db"))) == 2


@pytest.mark.parametrize("n_fitting", [0, 1])
def test_a_full_disk_loses_nothing(tmp_path, monkeypatch, n_fitting) -> None:
    _count(tmp_path)
    files, before = sorted(tmp_path.glob("*.db")), _told(tmp_path)
    fitting = [Path.write_bytes] * n_fitting

    def full(path: Path, content: bytes) -> None:
        if fitting:
            fitting.pop()(path, content)
            return
        path.touch()
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="no space left"):
        WorkerCounters(tmp_path).merge_ended(())
    assert sorted(tmp_path.glob("*.db")) == files
    assert not list(tmp_path.glob("*.new"))
    assert _told(tmp_path) == before


def test_who_reads_while_forty_workers_end_never_sees_less_than_before(tmp_path) -> None:
    done = _run(_PARENT, tmp_path)
    assert done.returncode == 0, done.stderr
    reads, seen = done.stdout.split()
    assert int(reads) > 20
    assert float(seen) <= 8000
    assert _told(tmp_path)['parecido_requests_total{method="GET",route="/x",status="200"}'] == 8000
    assert len(list(tmp_path.glob("*.db"))) <= 2


def test_a_scrape_does_not_wait_without_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_counts, "_SCRAPE_WAIT_S", 0.05)
    with WorkerCounters(tmp_path)._locked(fcntl.LOCK_EX), pytest.raises(Overloaded, match="holds the lock"):
        WorkerCounters(tmp_path).collect()
    assert WorkerCounters(tmp_path).collect() == []
