"""Workers as real processes that tell their states, and what the metrics make of several."""

import subprocess
import sys
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from search_service.observability.metrics import Metrics
from search_service.observability.worker_states import ServedSnapshot, WorkerState, WorkerStates

_ROOT = Path(__file__).parents[3]
_OLD = ServedSnapshot("old", 100.0, 1000.5, {"mugs": 1, "hats 🎩": 2})
_NEW = ServedSnapshot("new", 200.0, 2000.5, {"mugs": 3, '"\n\\': 4})


def _worker(directory: Path, *states: WorkerState) -> int:
    """Tells the states one after the other, and ends without taking the last one back; its process id."""
    script = (
        "import os; from pathlib import Path; from search_service.observability.worker_states import *\n"
        f"for state in {list(states)!r}: WorkerStates(Path({str(directory)!r})).put(state)\n"
        "print(os.getpid())"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=_ROOT, check=True, capture_output=True, text=True)
    return int(done.stdout)


def snapshot_gauges(directory: Path) -> dict[str, dict[str, float]]:
    """Name → the only label, or nothing → value."""
    text = Metrics(0.98, directory).text().decode()
    return {
        family.name: {next(iter(sample.labels.values()), ""): sample.value for sample in family.samples}
        for family in text_string_to_metric_families(text)
    }


def test_one_process_needs_no_directory() -> None:
    states, others = WorkerStates(None), WorkerStates(None)
    assert states.all() == []
    for state in (WorkerState(), WorkerState(_OLD), WorkerState(_NEW, is_rejecting=True)):
        states.put(state)
        assert states.all() == [state]
    assert others.all() == []
    states.remove(1)


def test_every_worker_has_its_last_state_until_it_is_forgotten(tmp_path) -> None:
    first = _worker(tmp_path, WorkerState(), WorkerState(_OLD))
    second = _worker(tmp_path, WorkerState(_OLD), WorkerState(_NEW, is_rejecting=True))
    states = WorkerStates(tmp_path)
    assert sorted(states.all(), key=repr) == sorted([WorkerState(_OLD), WorkerState(_NEW, True)], key=repr)
    states.put(WorkerState())
    assert len(states.all()) == 3
    states.remove(first)
    states.remove(first)
    assert WorkerState(_OLD) not in states.all()
    states.remove(second)
    assert states.all() == [WorkerState()]


def test_a_worker_killed_while_it_wrote_leaves_nothing(tmp_path) -> None:
    pid = _worker(tmp_path, WorkerState(_OLD))
    (tmp_path / f"worker-{pid}.new").write_text('{"served": nu', encoding="utf-8")
    states = WorkerStates(tmp_path)
    assert states.all() == [WorkerState(_OLD)]
    states.remove(pid)
    assert list(tmp_path.iterdir()) == []


def test_the_gauges_of_workers_that_swap_one_after_the_other(tmp_path) -> None:
    assert snapshot_gauges(tmp_path)["parecido_ready"] == {"": 0}
    old = _worker(tmp_path, WorkerState(_OLD))
    _worker(tmp_path, WorkerState(_NEW))
    found = snapshot_gauges(tmp_path)
    assert found["parecido_ready"] == {"": 1}
    assert found["parecido_snapshot_info"] == {"old": 1, "new": 1}
    assert found["parecido_snapshot_created_timestamp_seconds"] == {"": 100}
    assert found["parecido_partition_items"] == {"mugs": 3, '"\n\\': 4}
    WorkerStates(tmp_path).remove(old)
    found = snapshot_gauges(tmp_path)
    assert found["parecido_snapshot_info"] == {"new": 1}
    assert found["parecido_snapshot_created_timestamp_seconds"] == {"": 200}


def test_one_worker_that_refuses_or_serves_nothing_is_told(tmp_path) -> None:
    _worker(tmp_path, WorkerState(_NEW))
    refusing = _worker(tmp_path, WorkerState(_OLD, is_rejecting=True))
    found = snapshot_gauges(tmp_path)
    assert (found["parecido_ready"], found["parecido_snapshot_refused"]) == ({"": 1}, {"": 1})
    WorkerStates(tmp_path).remove(refusing)
    empty = _worker(tmp_path, WorkerState())
    found = snapshot_gauges(tmp_path)
    assert (found["parecido_ready"], found["parecido_snapshot_refused"]) == ({"": 0}, {"": 0})
    WorkerStates(tmp_path).remove(empty)
    assert snapshot_gauges(tmp_path)["parecido_ready"] == {"": 1}


def test_the_file_of_a_worker_that_has_just_begun_is_empty(tmp_path) -> None:
    (tmp_path / "counter_1.db").touch()
    assert snapshot_gauges(tmp_path)["parecido_ready"] == {"": 0}
