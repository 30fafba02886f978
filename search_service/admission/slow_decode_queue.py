"""A lane for images that take long to decode, apart from all others: few at once, and few that wait."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from search_service.admission.request_context import RequestContext, current_context
from shared.errors import ClientGone, Overloaded

SLOTS = 1
QUEUE = 4
DEADLINE_S = 10.0
_RETRY_AFTER_S = 5


class SlowDecodeQueue:
    """Safe to use from any number of threads."""

    def __init__(self, slots: int = SLOTS, queue: int = QUEUE, deadline_s: float = DEADLINE_S) -> None:
        """Make it, empty.

        Args:
            slots: images at once.
            queue: images that wait at most; each holds one of the service's threads.
            deadline_s: how long one waits at most.
        """
        self._turns = threading.Semaphore(slots)
        self._room = threading.Semaphore(slots + queue)
        self._deadline_s = deadline_s

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a turn, and give it back when the block is left.

        Raises:
            Overloaded: too many wait, or the turn did not come in time.
            ClientGone: nobody waits for the answer any more.
        """
        if not self._room.acquire(blocking=False):
            raise _busy()
        try:
            if not self._turns.acquire(timeout=self._deadline_s):
                raise _busy()
            try:
                if (current_context() or RequestContext()).is_disconnected():
                    raise ClientGone("the client has closed its connection before its turn came")
                yield
            finally:
                self._turns.release()
        finally:
            self._room.release()


def _busy() -> Overloaded:
    return Overloaded(
        f"the service is busy with other images that take as long to decode; try again in {_RETRY_AFTER_S} s",
        _RETRY_AFTER_S,
    )
