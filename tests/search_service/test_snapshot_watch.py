"""The watch: not ready with the reason, tried again once a second, then ready, opened once."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from search_service.engine import Engine
from search_service.snapshot_watch import SnapshotWatch
from shared.errors import NotReady, SnapshotError, SnapshotMissing


class _Opener:
    """Fails with the given errors one after the other, then opens."""

    def __init__(self, engine: Engine, *errors: Exception) -> None:
        self.engine = engine
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> Engine:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return self.engine


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    """The watch's clock; it stands still until `now` is set."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr("search_service.snapshot_watch.time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def _reason(watch: SnapshotWatch) -> str:
    with pytest.raises(NotReady) as caught:
        watch.engine()
    return str(caught.value)


def test_nothing_is_opened_before_it_is_needed(engine) -> None:
    opener = _Opener(engine)
    watch = SnapshotWatch(opener)
    assert opener.calls == 0
    assert watch.engine() is engine
    assert watch.engine() is engine
    assert opener.calls == 1


@pytest.mark.parametrize(
    "error",
    [
        SnapshotMissing("nothing is published in data"),
        SnapshotError("mugs.faiss is damaged"),
        PermissionError(13, "Permission denied", "data/snapshots/1/items.sqlite"),
    ],
)
def test_the_reason_is_given(engine, clock, error) -> None:
    assert _reason(SnapshotWatch(_Opener(engine, error))) == f"no snapshot is being served: {error}"


def test_a_bug_is_not_taken_for_a_missing_snapshot(engine, clock) -> None:
    with pytest.raises(ZeroDivisionError):
        SnapshotWatch(_Opener(engine, ZeroDivisionError())).engine()


def test_it_is_tried_again_once_a_second(engine, clock) -> None:
    opener = _Opener(engine, SnapshotMissing("first"), SnapshotError("second"))
    watch = SnapshotWatch(opener)
    for later, calls, reason in ((0.0, 1, "first"), (0.99, 1, "first"), (1.0, 2, "second"), (1.9, 2, "second")):
        clock.now = 1000.0 + later
        assert _reason(watch).endswith(f": {reason}")
        assert opener.calls == calls
    clock.now = 1002.0
    assert watch.engine() is engine
    clock.now = 5000.0
    assert watch.engine() is engine
    assert opener.calls == 3


def _at_once(n: int, ask: Callable[[], object]) -> list[object]:
    barrier = threading.Barrier(n)

    def wait_and_ask(_: int) -> object:
        barrier.wait()
        return ask()

    with ThreadPoolExecutor(n) as threads:
        return list(threads.map(wait_and_ask, range(n)))


def test_eight_threads_open_once(engine) -> None:
    everyone_asked = threading.Event()
    calls: list[int] = []

    def open_slowly() -> Engine:
        calls.append(1)
        everyone_asked.wait(0.2)
        return engine

    assert _at_once(8, SnapshotWatch(open_slowly).engine) == [engine] * 8
    assert len(calls) == 1


def test_eight_threads_fail_once(engine, clock) -> None:
    opener = _Opener(engine, SnapshotMissing("nothing"))
    watch = SnapshotWatch(opener)
    assert {str(reason) for reason in _at_once(8, lambda: _reason(watch))} == {"no snapshot is being served: nothing"}
    assert opener.calls == 1
