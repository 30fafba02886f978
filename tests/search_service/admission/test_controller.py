"""The admission controller, with threads that hold slots until the test releases them, independent of their speed."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from contextvars import copy_context

import pytest

from search_service.admission.controller import AdmissionController, costly_search_admission
from search_service.admission.request_context import RequestContext, set_context
from shared.errors import ClientGone, Overloaded

_LONG_S = 60.0


class _Observer:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.now_waiting = 0
        self._lock = threading.Lock()

    def waiting(self, change: int) -> None:
        with self._lock:
            self.now_waiting += change

    def admitted(self, waited_s: float) -> None:
        assert waited_s >= 0
        with self._lock:
            self.counts["admitted"] += 1

    def rejected_query(self, reason: str) -> None:
        with self._lock:
            self.counts[reason] += 1

    def wait_for(self, waiting: int) -> None:
        _until(lambda: self.now_waiting == waiting)


class _Crowd:
    """Queries, each on a thread; each holds its slot until it is let go, and notes the order of the turns."""

    def __init__(self, admission: AdmissionController) -> None:
        self._admission = admission
        self._threads = ThreadPoolExecutor(32)
        self._let_go: dict[str, threading.Event] = {}
        self.turns: list[str] = []

    def come(self, name: str, caller: RequestContext | None = None) -> Future[int]:
        self._let_go[name] = threading.Event()
        context = copy_context()
        context.run(set_context, caller or RequestContext())
        return self._threads.submit(context.run, self._query, name)

    def let_go(self, *names: str) -> None:
        for name in names or self._let_go:
            self._let_go[name].set()

    def close(self) -> None:
        self.let_go()
        self._threads.shutdown()

    def _query(self, name: str) -> int:
        with self._admission.slot() as slot:
            self.turns.append(name)
            assert self._let_go[name].wait(_LONG_S)
            return slot.cores


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _LONG_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture
def observer() -> _Observer:
    return _Observer()


@pytest.fixture
def crowd_of(observer) -> Iterator[Callable[..., _Crowd]]:
    with ExitStack() as made:

        def make(slots: int = 2, queue: int = 3, deadline_s: float = _LONG_S) -> _Crowd:
            crowd = _Crowd(AdmissionController(slots, queue, deadline_s, observer))
            made.callback(crowd.close)
            return crowd

        yield make


def _fill(crowd: _Crowd, *names: str) -> None:
    """Let these in, one after the other."""
    for name in names:
        crowd.come(name)
        _until(lambda name=name: name in crowd.turns)


def test_no_more_run_at_once_than_there_are_slots(observer) -> None:
    admission, running, most, lock = AdmissionController(3, 100, _LONG_S, observer), 0, 0, threading.Lock()

    def query(_: int) -> None:
        nonlocal running, most
        with admission.slot():
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.001)
            with lock:
                running -= 1

    with ThreadPoolExecutor(32) as threads:
        list(threads.map(query, range(300)))
    assert most == 3
    assert observer.counts == {"admitted": 300}
    assert observer.now_waiting == 0


def test_turns_come_in_the_order_of_arrival(crowd_of, observer) -> None:
    crowd = crowd_of(slots=1)
    _fill(crowd, "first")
    for waiting, name in enumerate(("a", "b", "c"), start=1):
        crowd.come(name)
        observer.wait_for(waiting)
    crowd.let_go()
    _until(lambda: len(crowd.turns) == 4)
    assert crowd.turns == ["first", "a", "b", "c"]


def test_who_comes_when_the_queue_is_full_is_refused_at_once(crowd_of, observer) -> None:
    crowd = crowd_of(slots=2, queue=1)
    _fill(crowd, "a", "b")
    waits = crowd.come("c")
    observer.wait_for(1)
    with pytest.raises(Overloaded, match="the query queue is full; retry in 1 s") as caught:
        crowd.come("d").result(_LONG_S)
    assert caught.value.retry_after_s == 1
    with pytest.raises(Overloaded):
        crowd._admission.reject_if_full()
    crowd.let_go()
    waits.result(_LONG_S)
    crowd._admission.reject_if_full()
    assert observer.counts == {"admitted": 3, "queue_full": 2}
    assert observer.now_waiting == 0


def test_without_a_queue_what_runs_is_not_refused(crowd_of, observer) -> None:
    crowd = crowd_of(slots=1, queue=0)
    crowd._admission.reject_if_full()
    _fill(crowd, "a")
    with pytest.raises(Overloaded):
        crowd.come("b").result(_LONG_S)


def test_who_waits_too_long_is_refused_and_gives_up_its_place(crowd_of, observer) -> None:
    crowd = crowd_of(slots=1, queue=1, deadline_s=0.05)
    _fill(crowd, "a")
    with pytest.raises(Overloaded, match=r"no free slot after 0\.05 s in the query queue"):
        crowd.come("b").result(_LONG_S)
    assert observer.now_waiting == 0
    with pytest.raises(Overloaded, match="no free slot after"):
        crowd.come("c").result(_LONG_S)  # so b's place is free
    crowd.let_go("a")
    _fill(crowd, "d")
    assert observer.counts == {"admitted": 2, "deadline": 2}


def test_what_was_waited_before_counts(crowd_of, observer) -> None:
    late = RequestContext(arrived_s=time.monotonic() - 10)
    with pytest.raises(Overloaded, match="no free slot after"):
        crowd_of(deadline_s=5).come("late", late).result(_LONG_S)
    assert observer.counts == {"deadline": 1}


def test_nothing_is_done_for_a_client_that_is_gone_when_its_turn_comes(crowd_of, observer) -> None:
    crowd, left = crowd_of(slots=1), threading.Event()
    _fill(crowd, "a")
    gone = crowd.come("gone", RequestContext(is_disconnected=left.is_set))
    stays = crowd.come("stays", RequestContext(is_disconnected=lambda: False))
    observer.wait_for(2)
    left.set()
    crowd.let_go()
    with pytest.raises(ClientGone):
        gone.result(_LONG_S)
    stays.result(_LONG_S)
    assert crowd.turns == ["a", "stays"]
    assert observer.counts == {"admitted": 2, "client_gone": 1}


def test_a_client_that_has_only_ended_its_own_side_is_answered_where_nobody_waits(observer) -> None:
    set_context(RequestContext(is_disconnected=lambda: True))
    try:
        with AdmissionController(1, observer=observer).slot():
            pass
    finally:
        set_context(None)
    assert observer.counts == {"admitted": 1}


def test_a_query_that_fails_gives_its_slot_back() -> None:
    admission = AdmissionController(1)

    def fail() -> None:
        with admission.slot() as slot:
            slot.take_idle_cores()
            raise ZeroDivisionError

    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            fail()
    with admission.slot():
        pass


def test_further_queries_of_a_request_that_was_admitted_wait_whatever_the_queue(crowd_of, observer) -> None:
    batch = RequestContext(arrived_s=time.monotonic() - 10)
    crowd = crowd_of(slots=1, queue=1, deadline_s=_LONG_S)
    first = crowd.come("first of the batch", batch)
    _until(lambda: batch.is_admitted)
    crowd.come("other")
    observer.wait_for(1)
    second = crowd.come("second of the batch", batch)
    observer.wait_for(2)
    crowd.let_go()
    assert first.result(_LONG_S) == second.result(_LONG_S) == 1
    assert crowd.turns == ["first of the batch", "other", "second of the batch"]


def test_one_that_is_alone_takes_all_cores_and_gives_them_back(crowd_of, observer) -> None:
    admission = AdmissionController(4, 2, _LONG_S, observer)
    for _ in range(3):
        with admission.slot() as slot:
            assert slot.take_idle_cores()
            assert slot.cores == 4
            assert slot.take_idle_cores()  # it has them
    crowd = _Crowd(admission)
    with admission.slot() as slot:
        slot.take_idle_cores()
        waits = crowd.come("next")
        observer.wait_for(1)
        assert crowd.turns == []
    crowd.close()
    assert waits.result(_LONG_S) == 1


def test_one_that_has_company_keeps_to_one_core(crowd_of) -> None:
    crowd = crowd_of(slots=4)
    _fill(crowd, "a")
    with crowd._admission.slot() as slot:
        assert not slot.take_idle_cores()
        assert slot.cores == 1


def test_shortly_after_company_it_still_keeps_to_one_core(monkeypatch, crowd_of) -> None:
    now_s = 1000.0
    monkeypatch.setattr("search_service.admission.controller.time.monotonic", lambda: now_s)
    admission = AdmissionController(2)
    set_context(None)
    with admission.slot(), admission.slot():
        pass
    for later_s, wanted in ((0.05, False), (0.2, True)):
        now_s = 1000.0 + later_s
        with admission.slot() as slot:
            assert slot.take_idle_cores() is wanted


def test_where_several_are_expected_the_first_one_keeps_to_one_core() -> None:
    admission = AdmissionController(2)
    admission.expect_concurrency()
    with admission.slot() as slot:
        assert not slot.take_idle_cores()


def test_with_one_core_all_is_one() -> None:
    with AdmissionController(1).slot() as slot:
        assert slot.take_idle_cores()
        assert slot.cores == 1


def test_when_to_ask_again_grows_with_what_waits(monkeypatch, crowd_of, observer) -> None:
    crowd = crowd_of(slots=1, queue=8)
    monkeypatch.setattr(crowd._admission, "_service_s", 1.5)
    _fill(crowd, "running")
    for number in range(8):
        crowd.come(f"waiting {number}")
    observer.wait_for(8)
    with pytest.raises(Overloaded) as caught:
        crowd.come("one more").result(_LONG_S)
    assert caught.value.retry_after_s == 12


# Several callers


def _wait_in_line(crowd: _Crowd, observer: _Observer, *names: str, is_batch: bool = False) -> list[Future[int]]:
    """Let queries come to the queue one after the other; a name is that of the caller and a number."""
    futures = []
    for name in names:
        before = observer.now_waiting
        futures.append(crowd.come(name, RequestContext(client=name[:-1], is_batch=is_batch)))
        observer.wait_for(before + 1)
    return futures


def test_callers_take_turns_each_ones_queries_in_their_order(crowd_of, observer) -> None:
    crowd = crowd_of(slots=1, queue=9)
    _fill(crowd, "first")
    _wait_in_line(crowd, observer, "a1", "a2", "a3", "b1", "b2", "c1")
    crowd.let_go()
    _until(lambda: len(crowd.turns) == 7)
    assert crowd.turns[1:] == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_in_a_full_queue_a_caller_with_fewer_displaces_the_newest_of_the_one_with_most(crowd_of, observer) -> None:
    crowd = crowd_of(slots=1, queue=3)
    _fill(crowd, "first")
    a1, a2, a3 = _wait_in_line(crowd, observer, "a1", "a2", "a3")
    with pytest.raises(Overloaded, match="queue is full"):
        crowd.come("a4", RequestContext(client="a")).result(_LONG_S)
    b1 = crowd.come("b1", RequestContext(client="b"))
    with pytest.raises(Overloaded, match="queue is full"):
        a3.result(_LONG_S)
    observer.wait_for(3)
    with pytest.raises(Overloaded):  # it would have as many as it takes away from
        crowd.come("b2", RequestContext(client="b")).result(_LONG_S)
    crowd.let_go()
    assert [future.result(_LONG_S) for future in (a1, a2, b1)] == [1, 1, 1]
    assert crowd.turns[1:] == ["a1", "b1", "a2"]
    assert observer.counts == {"admitted": 4, "queue_full": 3}


def test_room_is_for_who_would_displace_another(crowd_of, observer) -> None:
    crowd = crowd_of(slots=1, queue=2)
    _fill(crowd, "first")
    _wait_in_line(crowd, observer, "a1", "a2")
    try:
        for name, has_room in (("a", False), ("b", True)):
            set_context(RequestContext(client=name))
            if has_room:
                crowd._admission.reject_if_full()
            else:
                with pytest.raises(Overloaded):
                    crowd._admission.reject_if_full()
    finally:
        set_context(None)


def test_queries_of_a_batch_that_was_admitted_are_not_displaced(crowd_of, observer) -> None:
    crowd = crowd_of(slots=1, queue=2)
    _fill(crowd, "first")
    batch = RequestContext(client="a", is_batch=True, is_admitted=True)
    futures = []
    for number in range(4):
        futures.append(crowd.come(f"batch {number}", batch))
        observer.wait_for(number + 1)
    with pytest.raises(Overloaded):
        crowd.come("b", RequestContext(client="b")).result(_LONG_S)
    crowd.let_go()
    assert [future.result(_LONG_S) for future in futures] == [1] * 4


def test_queries_of_batches_leave_a_slot_to_single_ones(crowd_of, observer) -> None:
    crowd = crowd_of(slots=4, queue=9)
    batch = RequestContext(client="a", is_batch=True)
    for number in range(3):
        crowd.come(f"batch {number}", batch)
        _until(lambda number=number: f"batch {number}" in crowd.turns)
    crowd.come("batch 3", batch)
    observer.wait_for(1)
    _fill(crowd, "single")  # though another waits
    crowd.come("single waits", RequestContext(client="b"))
    observer.wait_for(2)
    crowd.let_go("batch 0")
    _until(lambda: "single waits" in crowd.turns)  # while it waits, batches have half of the slots
    assert "batch 3" not in crowd.turns
    crowd.let_go("single", "single waits")
    _until(lambda: "batch 3" in crowd.turns)


def test_of_costly_searches_each_waits_from_when_it_asks(observer) -> None:
    admission = costly_search_admission(3, observer)
    assert admission.slots == 2
    assert costly_search_admission(1).slots == 1
    caller = RequestContext(arrived_s=time.monotonic() - 100, is_admitted=True)
    set_context(caller)
    try:
        with admission.slot(), admission.slot():
            pass
    finally:
        set_context(None)
    fresh = RequestContext()
    set_context(fresh)
    with admission.slot():
        pass
    set_context(None)
    assert not fresh.is_admitted  # it has had no turn among those that decode
