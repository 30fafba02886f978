"""Run the parts of one request side by side: on its own thread, and on a few helpers that requests share.

A request never waits for a helper to become free: its own thread goes through all parts that no helper has begun.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextvars import copy_context
from typing import TypeVar

_Part = TypeVar("_Part")
_Result = TypeVar("_Result")


def parallel_map(
    work: Callable[[_Part], _Result], parts: Sequence[_Part], helpers: Executor, most_helpers: int
) -> list[_Result]:
    """Do the work for each part; the results are in their order.

    Args:
        work: for one part; whatever it raises ends the others, once those that have begun are done.
        parts: of one request.
        helpers: threads that requests share; they know the caller of this one.
        most_helpers: how many of them this request may have.
    """
    results: dict[int, _Result] = {}
    left, lock = iter(range(len(parts))), threading.Lock()
    is_failed = threading.Event()

    def positions() -> Iterator[int]:
        while not is_failed.is_set():
            with lock:
                position = next(left, None)
            if position is None:
                return
            yield position

    def run() -> None:
        try:
            for position in positions():
                results[position] = work(parts[position])
        except BaseException:
            is_failed.set()
            raise

    n_helpers = min(most_helpers, len(parts) - 1)
    helping = [helpers.submit(copy_context().run, run) for _ in range(n_helpers)]
    try:
        run()
    finally:
        begun = [future for future in helping if not future.cancel()]
        failed = [error for future in begun if (error := future.exception()) is not None]  # waits for them
    if failed:
        raise failed[0]
    return [results[position] for position in range(len(parts))]
