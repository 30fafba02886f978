"""Run the parts of one request in parallel, on its own thread and on a few threads that requests share.

A request never waits for a shared thread: its own thread works through all parts that no other has begun.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextvars import copy_context
from typing import TypeVar

_Part = TypeVar("_Part")
_Result = TypeVar("_Result")


def parallel_map(
    function: Callable[[_Part], _Result], parts: Sequence[_Part], helpers: Executor, max_helpers: int
) -> list[_Result]:
    """Return `function(part)` for each part, in order.

    Args:
        function: called in the request's context. The first error is raised, once all running calls have ended.
        parts: of one request.
        helpers: threads that requests share.
        max_helpers: number of them that this request may use.
    """
    results: dict[int, _Result] = {}
    remaining, lock = iter(range(len(parts))), threading.Lock()
    is_failed = threading.Event()

    def positions() -> Iterator[int]:
        while not is_failed.is_set():
            with lock:
                position = next(remaining, None)
            if position is None:
                return
            yield position

    def run() -> None:
        try:
            for position in positions():
                results[position] = function(parts[position])
        except BaseException:
            is_failed.set()
            raise

    n_helpers = min(max_helpers, len(parts) - 1)
    futures = [helpers.submit(copy_context().run, run) for _ in range(n_helpers)]
    try:
        run()
    finally:
        begun = [future for future in futures if not future.cancel()]
        errors = [error for future in begun if (error := future.exception()) is not None]  # waits for them
    if errors:
        raise errors[0]
    return [results[position] for position in range(len(parts))]
