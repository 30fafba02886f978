"""The parts of one request side by side."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from search_service.admission.parallel_map import parallel_map
from search_service.admission.request_context import RequestContext, current_context, set_context

_LONG_S = 30


def test_results_are_in_the_order_of_the_parts() -> None:
    with ThreadPoolExecutor(3) as helpers:
        assert parallel_map(lambda part: part * part, range(100), helpers, 3) == [one * one for one in range(100)]
        assert parallel_map(str, [], helpers, 3) == []


def test_the_own_thread_and_so_many_helpers_work_at_once() -> None:
    together, threads, caller = threading.Barrier(3, timeout=_LONG_S), set(), RequestContext()

    def work(_: int) -> RequestContext | None:
        together.wait()
        threads.add(threading.get_ident())
        return current_context()

    set_context(caller)
    try:
        with ThreadPoolExecutor(8) as helpers:
            assert parallel_map(work, range(6), helpers, 2) == [caller] * 6
    finally:
        set_context(None)
    assert len(threads) == 3
    assert threading.get_ident() in threads


def test_where_no_helper_is_free_the_own_thread_does_all() -> None:
    let_go = threading.Event()
    with ThreadPoolExecutor(1) as helpers:
        helpers.submit(let_go.wait, _LONG_S)
        threads = parallel_map(lambda _: threading.get_ident(), range(5), helpers, 2)
        let_go.set()
    assert set(threads) == {threading.get_ident()}


@pytest.mark.parametrize("at", [0, 7])
def test_an_error_ends_the_others(at: int) -> None:
    done: list[int] = []

    def work(part: int) -> Any:
        done.append(part)
        return 1 // (part - at)

    with ThreadPoolExecutor(1) as helpers, pytest.raises(ZeroDivisionError):
        parallel_map(work, range(1000), helpers, 1)
    assert len(done) < 1000
