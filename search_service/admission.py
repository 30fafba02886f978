"""Who may decode and embed now: about as many queries as there are cores, a short queue with a deadline behind them.

1. A query takes a slot where one is free; else it waits, first come, first served.
2. Where too many wait already, or its turn does not come in time, it is refused: `Overloaded`.
3. When its turn comes and its client is gone, nothing is done for it: `ClientGone`.
4. One that is alone may take all other slots too, for one inference on all cores.

Knows nothing of the web. See docs/decisions/0015-admission.md.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal, Protocol

from search_service.caller import Caller, current_caller
from shared.errors import ClientGone, Overloaded

QUEUE = 64
DEADLINE_S = 2.0
Refused = Literal["queue_full", "deadline", "client_gone"]

# So long after two queries have met, each keeps to one core: several clients are there, and their next ones may come at
# any moment.
_COMPANY_S = 0.1
_NEWEST_SHARE = 0.1


class AdmissionObserver(Protocol):
    """Is told what becomes of queries, by the threads that they run on."""

    def waiting(self, change: int) -> None:
        """So many more queries wait for a slot, or fewer."""

    def admitted(self, waited_s: float) -> None:
        """A query has got its slot."""

    def refused_query(self, reason: Refused) -> None:
        """A query was not answered."""


@dataclass(eq=False)
class _Waiter:
    """A query in the queue."""

    turn: threading.Event = field(default_factory=threading.Event)


class Slot:
    """The right to use one core, or more where nobody else wants them."""

    def __init__(self, admission: "Admission") -> None:
        """Made by `Admission.slot`."""
        self._admission = admission
        self.cores = 1

    def take_all(self) -> bool:
        """Take all cores if no other query is there, nor was just now; whether it has. Who comes next waits."""
        self.cores += self._admission._take_rest()
        return self.cores == self._admission.slots


class Admission:
    """The slots of one process; safe to use from any number of threads."""

    def __init__(
        self,
        slots: int,
        queue: int = QUEUE,
        deadline_s: float = DEADLINE_S,
        observer: AdmissionObserver | None = None,
    ) -> None:
        """Make them, all free.

        Args:
            slots: how many decode and embed at once at most.
            queue: how many wait at most.
            deadline_s: how long a query may wait for its turn, from the arrival of its request on.
            observer: is told what becomes of queries.
        """
        self.slots = slots
        self._free = slots
        self.queue = queue
        self._deadline_s = deadline_s
        self._observer = observer
        self._waiters: deque[_Waiter] = deque()
        self._lock = threading.Lock()
        self._met_s = -math.inf
        self._service_s = 0.0

    def require_room(self) -> None:
        """Refuse what would have to wait behind a full queue, before any work is done for it.

        Raises:
            Overloaded: the queue is full.
        """
        if len(self._waiters) >= self.queue and not self._free:
            raise self.refusal("queue_full")

    def refusal(self, reason: Literal["queue_full", "deadline"]) -> Overloaded:
        """Count a query that is refused, and say when to ask again."""
        if self._observer is not None:
            self._observer.refused_query(reason)
        waiting = len(self._waiters)
        retry_after_s = max(1, math.ceil(waiting * self._service_s / self.slots))
        found = (
            "as many queries wait already as may (PARECIDO_QUEUE)"
            if reason == "queue_full"
            else f"its turn did not come within {self._deadline_s:g} s (PARECIDO_QUEUE_DEADLINE_S)"
        )
        return Overloaded(f"the service is busy: {found}; try again in {retry_after_s} s", retry_after_s)

    def expect_several(self) -> None:
        """Say that several queries come now, so that the first one does not take all cores."""
        self._met_s = time.monotonic()

    @contextmanager
    def slot(self) -> Iterator[Slot]:
        """Wait for a slot, and give it back when the block is left.

        Raises:
            Overloaded: the queue is full, or the turn did not come in time.
            ClientGone: nobody waits for the answer any more.
        """
        caller = current_caller() or Caller()
        asked_s = time.monotonic()
        self._take(caller, asked_s)
        slot, began_s = Slot(self), time.monotonic()
        try:
            if caller.is_gone():
                raise self._gone()
            caller.is_admitted = True
            if self._observer is not None:
                self._observer.admitted(began_s - asked_s)
            yield slot
        finally:
            self._give_back(slot.cores, time.monotonic() - began_s)

    def _take(self, caller: Caller, now_s: float) -> None:
        # One query of a batch has been admitted: the others only wait, from now on. They are as few as there are cores.
        until_s = (now_s if caller.is_admitted else caller.arrived_s) + self._deadline_s
        if until_s <= now_s:
            raise self.refusal("deadline")
        with self._lock:
            if self._free < self.slots:
                self._met_s = now_s
            if self._free and not self._waiters:
                self._free -= 1
                return
            is_full = len(self._waiters) >= self.queue and not caller.is_admitted
            if not is_full:
                waiter = _Waiter()
                self._waiters.append(waiter)
        if is_full:
            raise self.refusal("queue_full")
        self._wait(waiter, until_s)

    def _wait(self, waiter: _Waiter, until_s: float) -> None:
        if self._observer is not None:
            self._observer.waiting(1)
        try:
            if waiter.turn.wait(until_s - time.monotonic()):
                return
            with self._lock:
                if waiter.turn.is_set():  # at the last moment
                    return
                self._waiters.remove(waiter)
        finally:
            if self._observer is not None:
                self._observer.waiting(-1)
        raise self.refusal("deadline")

    def _take_rest(self) -> int:
        """How many more slots were taken."""
        with self._lock:
            is_alone = self._free == self.slots - 1 and time.monotonic() - self._met_s > _COMPANY_S
            taken = self._free if is_alone else 0
            self._free -= taken
            return taken

    def _give_back(self, cores: int, took_s: float) -> None:
        with self._lock:
            self._service_s += _NEWEST_SHARE * (took_s - self._service_s)
            self._free += cores
            while self._free and self._waiters:
                self._free -= 1
                self._waiters.popleft().turn.set()

    def _gone(self) -> ClientGone:
        if self._observer is not None:
            self._observer.refused_query("client_gone")
        return ClientGone("the client has closed its connection before its turn came")
