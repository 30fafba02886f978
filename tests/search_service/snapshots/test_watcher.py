"""The watch, polled by hand: ready, swapped, refused; an old engine is closed just when its last request ends."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from search_service.snapshots.version import SnapshotRejection, SnapshotVersion
from search_service.snapshots.watcher import SnapshotWatcher
from shared.errors import NotReady, ParecidoError, SnapshotError, SnapshotMissing, StoreUnavailable

A, B, C = (SnapshotVersion(name, 1) for name in "ABC")
_WAIT_S = 10.0


class _Engine:
    """Counts how often it was closed, and notices when it is used afterwards."""

    def __init__(self, snapshot_id: str) -> None:
        self.snapshot_id = snapshot_id
        self.manifest = SimpleNamespace(snapshot_id=snapshot_id)
        self.closed = 0

    def use(self) -> None:
        assert self.closed == 0

    def close(self) -> None:
        self.closed += 1


class _Data:
    """What is published, the snapshots that can't be opened and why, and every engine that was opened."""

    def __init__(self) -> None:
        self.published: SnapshotVersion | Exception = A
        self.damaged: dict[str, Exception] = {}
        self.tried: list[str] = []
        self.opened: list[_Engine] = []

    def read(self) -> SnapshotVersion:
        if isinstance(self.published, Exception):
            raise self.published
        return self.published

    def open(self, snapshot_id: str) -> _Engine:
        self.tried.append(snapshot_id)
        if snapshot_id in self.damaged:
            raise self.damaged[snapshot_id]
        self.opened.append(_Engine(snapshot_id))
        return self.opened[-1]

    def closed(self) -> list[int]:
        return [engine.closed for engine in self.opened]


@pytest.fixture
def data() -> _Data:
    return _Data()


@pytest.fixture
def watch(data: _Data) -> SnapshotWatcher:
    return SnapshotWatcher(data.read, data.open)


def _publish(watch: SnapshotWatcher, data: _Data, *every: SnapshotVersion | Exception) -> None:
    for published in every:
        data.published = published
        watch.poll()


def _served(watch: SnapshotWatcher) -> str:
    with watch.engine() as engine:
        engine.use()
        return engine.snapshot_id


def _reason(watch: SnapshotWatcher) -> str:
    with pytest.raises(NotReady) as caught, watch.engine():
        pass
    return str(caught.value)


# Until there is something to serve


def test_nothing_is_opened_before_the_first_poll(watch, data) -> None:
    assert _reason(watch) == "no snapshot is being served: none has been opened yet"
    assert data.tried == []
    watch.poll()
    assert _served(watch) == "A"


def test_requests_open_nothing_themselves(watch, data) -> None:
    data.damaged["A"] = SnapshotError("damaged")
    watch.poll()
    for _ in range(3):
        _reason(watch)
    assert data.tried == ["A"]


@pytest.mark.parametrize(
    "error",
    [
        SnapshotMissing("nothing is published in data"),
        SnapshotError("mugs.faiss is damaged"),
        PermissionError(13, "Permission denied", "data/snapshots/1/items.sqlite"),
    ],
)
@pytest.mark.parametrize("where", ["reading", "opening"])
def test_the_reason_is_given(watch, data, error, where) -> None:
    if where == "reading":
        data.published = error
    else:
        data.damaged["A"] = error
    watch.poll()
    assert _reason(watch) == f"no snapshot is being served: {error}"
    assert watch.rejection == SnapshotRejection(None if where == "reading" else A, str(error))


def test_it_is_tried_again_at_every_poll_and_then_ready(watch, data) -> None:
    _publish(watch, data, SnapshotMissing("first"))
    data.damaged["A"] = SnapshotError("second")
    _publish(watch, data, A, A, A)
    assert _reason(watch).endswith(": second")
    assert data.tried == ["A"] * 3
    data.damaged.clear()
    watch.poll()
    assert _served(watch) == "A"
    assert watch.rejection is None


def test_what_is_served_is_opened_once(watch, data) -> None:
    _publish(watch, data, A, A, A)
    assert _served(watch) == "A"
    assert data.tried == ["A"]
    assert data.closed() == [0]


# Swapping


def test_another_snapshot_is_swapped_in_and_the_idle_old_one_closed(watch, data) -> None:
    _publish(watch, data, A, B)
    assert _served(watch) == "B"
    assert data.closed() == [1, 0]
    _publish(watch, data, C, A)
    assert _served(watch) == "A"
    assert data.tried == ["A", "B", "C", "A"]
    assert data.closed() == [1, 1, 1, 0]


def test_the_old_one_serves_while_the_new_one_is_opened(watch, data) -> None:
    def serve_then_open(snapshot_id: str) -> _Engine:
        seen.append(_served(watching))
        return data.open(snapshot_id)

    seen: list[str] = []
    watching = SnapshotWatcher(data.read, lambda name: serve_then_open(name) if data.opened else data.open(name))
    _publish(watching, data, A, B, C)
    assert seen == ["A", "B"]


def test_the_old_one_is_closed_when_the_last_of_two_requests_ends(watch, data) -> None:
    watch.poll()
    first, second = ExitStack(), ExitStack()
    engines = [first.enter_context(watch.engine()), second.enter_context(watch.engine())]
    _publish(watch, data, B, B)
    assert _served(watch) == "B"
    assert {engine.snapshot_id for engine in engines} == {"A"}
    assert data.closed() == [0, 0]
    first.close()
    assert data.closed() == [0, 0]
    second.close()
    assert data.closed() == [1, 0]
    _publish(watch, data, C)
    assert data.closed() == [1, 1, 0]


def test_each_old_one_waits_for_its_own_requests(watch, data) -> None:
    stacks = []
    for published in (A, B, C):
        _publish(watch, data, published)
        stacks.append(ExitStack())
        assert stacks[-1].enter_context(watch.engine()).snapshot_id == published.snapshot_id
    stacks[1].close()
    assert data.closed() == [0, 1, 0]
    stacks[0].close()
    assert data.closed() == [1, 1, 0]
    stacks[2].close()
    assert data.closed() == [1, 1, 0]


def test_a_request_that_fails_ends_too(watch, data) -> None:
    def fail() -> None:
        with watch.engine():
            _publish(watch, data, B)
            assert data.closed() == [0, 0]
            raise ZeroDivisionError

    watch.poll()
    with pytest.raises(ZeroDivisionError):
        fail()
    assert data.closed() == [1, 0]


def test_eight_threads_never_see_a_closed_engine(watch, data) -> None:
    watch.poll()
    ended = threading.Event()

    def ask() -> int:
        answers = 0
        while not ended.is_set():
            with watch.engine() as engine:
                engine.use()
                answers += 1
                engine.use()
        return answers

    with ThreadPoolExecutor(8) as threads:
        asking = [threads.submit(ask) for _ in range(8)]
        try:
            for number in range(500):
                _publish(watch, data, SnapshotVersion(f"{number}", number))
        finally:
            ended.set()
        assert all(one.result() > 0 for one in asking)
    assert data.closed() == [1] * 500 + [0]


# Refusing


def test_a_snapshot_that_does_not_open_is_refused_and_the_old_one_serves_on(watch, data) -> None:
    data.damaged["B"] = SnapshotError("mugs.faiss is damaged")
    _publish(watch, data, A, B)
    assert _served(watch) == "A"
    assert watch.rejection == SnapshotRejection(B, "mugs.faiss is damaged")
    assert watch.rejection.snapshot_id == "B"
    assert data.closed() == [0]


def test_what_was_refused_is_tried_again_only_when_it_changes(watch, data) -> None:
    data.damaged["B"] = SnapshotError("damaged")
    _publish(watch, data, A, B, B, B)
    assert data.tried == ["A", "B"]
    _publish(watch, data, SnapshotVersion("B", 2), SnapshotVersion("B", 2))
    assert data.tried == ["A", "B", "B"]
    data.damaged.clear()
    _publish(watch, data, SnapshotVersion("B", 2))
    assert _served(watch) == "A"
    _publish(watch, data, SnapshotVersion("B", 3))
    assert _served(watch) == "B"
    assert watch.rejection is None
    assert data.closed() == [1, 0]


def test_what_a_server_could_not_give_is_tried_again_at_every_poll(watch, data) -> None:
    _publish(watch, data, A)
    data.damaged["B"] = StoreUnavailable("Milvus is loading it")
    _publish(watch, data, B, B)
    assert (_served(watch), data.tried) == ("A", ["A", "B", "B"])
    assert watch.rejection.reason == "Milvus is loading it"
    del data.damaged["B"]
    watch.poll()
    assert (_served(watch), watch.rejection) == ("B", None)


def test_a_worker_that_starts_while_the_server_is_away_says_that_it_is(watch, data) -> None:
    data.damaged["A"] = StoreUnavailable("Milvus is away")
    _publish(watch, data, A)
    with pytest.raises(StoreUnavailable, match="no snapshot is being served: Milvus is away"), watch.engine():
        pass
    data.damaged.clear()
    watch.poll()
    assert _served(watch) == "A"


def test_a_good_one_after_a_refused_one_is_swapped_in(watch, data) -> None:
    data.damaged["B"] = SnapshotError("damaged")
    _publish(watch, data, A, B, C)
    assert _served(watch) == "C"
    assert watch.rejection is None
    assert data.closed() == [1, 0]


def test_back_to_the_one_that_is_served_ends_a_refusal_without_opening_it(watch, data) -> None:
    data.damaged["B"] = SnapshotError("damaged")
    _publish(watch, data, A, B, A)
    assert watch.rejection is None
    assert data.tried == ["A", "B"]
    _publish(watch, data, B)
    assert data.tried == ["A", "B", "B"]
    assert watch.rejection == SnapshotRejection(B, "damaged")


@pytest.mark.parametrize(
    "error", [SnapshotMissing("nothing is published"), SnapshotError("no snapshot"), OSError(5, "I/O error")]
)
def test_without_a_readable_current_the_old_one_serves_on(watch, data, error) -> None:
    _publish(watch, data, A, error, error)
    assert _served(watch) == "A"
    assert watch.rejection == SnapshotRejection(None, str(error))
    assert watch.rejection.snapshot_id is None
    _publish(watch, data, A)
    assert watch.rejection is None
    assert data.tried == ["A"]


def test_a_refusal_is_logged_once(watch, data, caplog) -> None:
    data.damaged["B"] = SnapshotError("mugs.faiss is damaged")
    with caplog.at_level(logging.WARNING):
        _publish(watch, data, SnapshotMissing("nothing yet"), SnapshotMissing("nothing yet"), A, B, B)
    assert [record.getMessage() for record in caplog.records] == [
        "no snapshot is being served: nothing yet",
        "rejected B, still serving A: mugs.faiss is damaged",
    ]


@pytest.mark.parametrize("before", [[], [A]])
def test_a_bug_is_logged_with_its_traceback_and_is_no_end(watch, data, caplog, before) -> None:
    bug = ZeroDivisionError("secret")
    data.damaged["B"] = bug
    with caplog.at_level(logging.WARNING):
        _publish(watch, data, *before, B)
    [record] = caplog.records
    assert record.exc_info[1] is bug
    assert watch.rejection == SnapshotRejection(B, "an unexpected ZeroDivisionError; the service's log has the details")
    if before:
        assert _served(watch) == "A"
    _publish(watch, data, C)
    assert _served(watch) == "C"


# The observer


class _Observer:
    """Keeps the events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, object]] = []

    def swapped(self, manifest: SimpleNamespace) -> None:
        self.events.append(("swapped", manifest.snapshot_id))

    def rejected(self, snapshot_id: str | None) -> None:
        self.events.append(("rejected", snapshot_id))

    def recovered(self) -> None:
        self.events.append(("recovered", None))

    def polled(self, is_opening: bool) -> None:
        self.events.append(("polled", is_opening))


def test_an_observer_receives_every_change_once(data) -> None:
    observer = _Observer()
    watch = SnapshotWatcher(data.read, data.open, observer)
    data.damaged["B"] = SnapshotError("damaged")
    missing = SnapshotMissing("nothing")
    _publish(watch, data, missing, missing, A, A, B, B, A, A, SnapshotVersion("B", 2), C, C)
    assert [event for event in observer.events if event[0] != "polled"] == [
        ("rejected", None),
        ("swapped", "A"),
        ("rejected", "B"),
        ("recovered", None),
        ("rejected", "B"),
        ("swapped", "C"),
    ]


def test_progress_is_observed(data) -> None:
    observer = _Observer()
    _publish(SnapshotWatcher(data.read, data.open, observer), data, A, A)
    assert observer.events == [("polled", True), ("swapped", "A"), ("polled", False), ("polled", False)]


def test_an_observer_that_fails_is_logged_and_changes_nothing(data, caplog) -> None:
    class Failing:
        def swapped(self, _: object) -> None:
            raise OSError(28, "No space left on device")

        rejected = swapped

        def recovered(self) -> None:
            raise ZeroDivisionError

        def polled(self, is_opening: bool) -> None:
            raise OSError(28, "No space left on device")

    watch = SnapshotWatcher(data.read, data.open, Failing())
    data.damaged["B"] = SnapshotError("damaged")
    for published, rejection in ((A, None), (B, SnapshotRejection(B, "damaged")), (A, None), (C, None)):
        _publish(watch, data, published)
        assert watch.rejection == rejection
    assert _served(watch) == "C"
    assert data.closed() == [1, 0]
    assert caplog.text.count("an observer of the snapshots failed") == 4 + 7  # events, and progress


# The thread


def _in_a_thread(look: Callable[[], SnapshotVersion], data: _Data) -> SnapshotWatcher:
    watch = SnapshotWatcher(look, data.open)
    watch.start(0.001)
    return watch


def test_a_thread_polls_whatever_happens_until_it_is_stopped(data) -> None:
    looks: list[ParecidoError | Exception] = []
    enough = threading.Event()

    def look() -> SnapshotVersion:
        looks.append(ZeroDivisionError() if len(looks) % 2 else SnapshotMissing("nothing"))
        if len(looks) >= 10:
            enough.set()
        raise looks[-1]

    before = set(threading.enumerate())  # a watch of another test may be just ending
    watch = _in_a_thread(look, data)
    threads = set(threading.enumerate()) - before  # one polls, one looks after it
    assert len(threads) == 2
    assert all(thread.daemon for thread in threads)
    assert enough.wait(_WAIT_S)
    watch.stop()
    for thread in threads:
        thread.join(_WAIT_S)
        assert not thread.is_alive()


def test_the_thread_opens_what_is_published(data) -> None:
    looked_again = threading.Semaphore(0)

    def look() -> SnapshotVersion:
        looked_again.release()
        return data.read()

    watch = _in_a_thread(look, data)
    for published in (A, B):
        data.published = published
        for _ in range(3):  # so at least one whole poll has passed since
            assert looked_again.acquire(timeout=_WAIT_S)
        assert _served(watch) == published.snapshot_id
        while looked_again.acquire(blocking=False):
            pass
    watch.stop()


# What hangs


def test_a_snapshot_whose_opening_hangs_is_refused_and_a_later_one_is_served(data) -> None:
    released = threading.Event()

    def open_or_hang(snapshot_id: str) -> _Engine:
        engine = data.open(snapshot_id)
        if snapshot_id == "B":
            assert released.wait(_WAIT_S)
        return engine

    watch = SnapshotWatcher(data.read, open_or_hang, open_timeout_s=0.2)
    watch.start(0.001)
    assert _served(watch) == "A"
    assert watch.stuck_for_s is None
    data.published = B
    _until(lambda: watch.rejection is not None)
    assert watch.rejection == SnapshotRejection(B, "reading its files takes more than 0.2 s")
    assert watch.stuck_for_s > 0.1
    assert _served(watch) == "A"
    data.published = C
    _until(lambda: _served(watch) == "C")
    assert watch.rejection is None
    released.set()
    _until(lambda: data.closed() == [1, 1, 0])  # what was opened too late is closed, and not served
    assert _served(watch) == "C"
    assert watch.stuck_for_s is None
    watch.stop()


def test_a_look_that_hangs_is_given_up_on_and_tried_again(data) -> None:
    released, hangs = threading.Event(), threading.Event()

    def look() -> SnapshotVersion:
        if hangs.is_set():
            assert released.wait(_WAIT_S)
        return data.read()

    watch = SnapshotWatcher(look, data.open, open_timeout_s=0.1)
    watch.start(0.001)
    hangs.set()
    _until(lambda: watch.rejection is not None)
    assert watch.rejection.snapshot_id is None
    hangs.clear()
    data.published = B
    _until(lambda: _served(watch) == "B")
    released.set()
    watch.stop()


def test_no_more_than_a_few_threads_are_given_up_on(data) -> None:
    released, looks = threading.Event(), []

    def hang() -> SnapshotVersion:
        looks.append(None)
        assert released.wait(_WAIT_S)
        raise SnapshotMissing("nothing")

    watch = SnapshotWatcher(hang, data.open, open_timeout_s=0.05)
    watch.start(0.001)  # returns though the first look hangs
    _until(lambda: len(looks) == 4)
    time.sleep(0.5)  # ten times as long as it would take to give up on the next
    assert len(looks) == 4
    assert watch.stuck_for_s > 0.2
    released.set()
    watch.stop()


def test_only_operators_see_paths(data) -> None:
    data.damaged["A"] = SnapshotError("/srv/data/snapshots/A/items.sqlite is damaged")
    watch = SnapshotWatcher(data.read, data.open)
    assert "none has been opened yet" in str(watch.not_serving_error(is_operator=False))
    _publish(watch, data, A)
    assert "/srv/data" in str(watch.not_serving_error(is_operator=True))
    assert "/srv" not in str(watch.not_serving_error(is_operator=False))
    assert "/srv" not in watch.rejection.public_reason


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)
