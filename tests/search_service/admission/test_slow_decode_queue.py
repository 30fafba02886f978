"""The lane of images that take long to decode."""

import threading
from contextvars import copy_context

import pytest

from search_service.admission.request_context import RequestContext, set_context
from search_service.admission.slow_decode_queue import SlowDecodeQueue
from shared.errors import ClientGone, Overloaded


def test_turns_are_given_back_whatever_happens_in_them() -> None:
    lane = SlowDecodeQueue(slots=1, queue=0)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), lane.turn():
            raise ZeroDivisionError
    with lane.turn():
        pass


def test_one_that_finds_the_lane_full_is_refused_at_once() -> None:
    lane = SlowDecodeQueue(slots=1, queue=0)
    with lane.turn():
        with pytest.raises(Overloaded, match="other images that take as long to decode") as raised, lane.turn():
            pass
        assert raised.value.retry_after_s > 0
    with lane.turn():
        pass


def test_one_whose_turn_does_not_come_is_refused_and_leaves_no_trace() -> None:
    lane = SlowDecodeQueue(slots=1, queue=1, deadline_s=0.01)
    with lane.turn():
        for _ in range(3):
            with pytest.raises(Overloaded), lane.turn():
                pass
    with lane.turn():
        pass


def test_nothing_is_done_for_a_client_that_has_gone() -> None:
    lane = SlowDecodeQueue(slots=1, queue=0)

    def search() -> None:
        set_context(RequestContext(is_disconnected=lambda: True))
        with pytest.raises(ClientGone), lane.turn():
            raise AssertionError

    copy_context().run(search)
    with lane.turn():
        pass


def test_those_that_wait_come_one_after_the_other() -> None:
    lane, inside, most, lock = SlowDecodeQueue(slots=1, queue=8, deadline_s=60), [0], [0], threading.Lock()

    def run() -> None:
        with lane.turn():
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            with lock:
                inside[0] -= 1

    threads = [threading.Thread(target=run) for _ in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (inside, most) == ([0], [1])
