"""AdmissionController: a bounded number of queries at work at once, a short queue with a deadline behind them.

1. A query takes a slot where one is free; else it waits. Callers take turns, each one's queries in their order.
2. Where too many wait already, or its turn does not come in time, it is refused: `Overloaded`. A caller that has fewer
   in a full queue takes the place of the newest of the caller that has most.
3. When its turn comes and its client is gone meanwhile, nothing is done for it: `ClientGone`. One that did not wait is
   answered all the same: a client that has only ended its own side looks as if it were gone.
4. One that is alone may take all other slots too, for one inference on all cores.
5. Queries of batches leave a slot to single ones; where single ones wait, they share half of the slots.

Knows nothing of the web. See docs/decisions/0015-admission-control.md.
"""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, Protocol

from search_service.admission.fair_queue import FairQueue, QueuedQuery
from search_service.admission.request_context import RequestContext, current_context
from shared.errors import ClientGone, Overloaded

QUEUE = 64
DEADLINE_S = 2.0
SEARCH_QUEUE = 16
RejectReason = Literal["queue_full", "deadline", "client_gone"]

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

    def rejected_query(self, reason: RejectReason) -> None:
        """A query was not answered."""


class Slot:
    """The right to use one core, or more where nobody else wants them."""

    def __init__(self, admission: "AdmissionController") -> None:
        """Made by `AdmissionController.slot`."""
        self._admission = admission
        self.cores = 1

    def take_idle_cores(self) -> bool:
        """Take all cores if no other query is there, nor was just now; whether it has. Who comes next waits."""
        self.cores += self._admission._take_rest()
        return self.cores == self._admission.slots


class AdmissionController:
    """The slots of one process; safe to use from any number of threads."""

    def __init__(
        self,
        slots: int,
        queue: int = QUEUE,
        deadline_s: float = DEADLINE_S,
        observer: AdmissionObserver | None = None,
        is_first_work: bool = True,
        names: tuple[str, str] = ("as many queries wait already as may (PARECIDO_QUEUE)", "PARECIDO_QUEUE_DEADLINE_S"),
    ) -> None:
        """Make them, all free.

        Args:
            slots: how many are at work at once at most.
            queue: how many wait at most.
            deadline_s: how long a query may wait for its turn.
            observer: is told what becomes of queries.
            is_first_work: whether nothing was done before for a request that asks for the first time: its deadline then
                counts from its arrival, and its further queries wait whatever the queue.
            names: for messages: that the queue is full, and what the deadline is called.
        """
        self.slots = slots
        self._free = slots
        self.queue = queue
        self._deadline_s = deadline_s
        self._observer = observer
        self._is_first_work = is_first_work
        self._names = names
        self._waiters = FairQueue()
        self._n_batch = 0  # slots that queries of batches have
        self._lock = threading.Lock()
        self._met_s = -math.inf
        self._service_s = 0.0

    def reject_if_full(self) -> None:
        """Refuse what would have to wait behind a full queue, before any work is done for it.

        Raises:
            Overloaded: the queue is full, and no other caller has more in it than the current one.
        """
        context = current_context()
        with self._lock:
            is_full = len(self._waiters) >= self.queue and not self._free
            has_room = context is not None and self._waiters.evictable(context.client) is not None
        if is_full and not has_room:
            raise self.refusal("queue_full")

    def refusal(self, reason: Literal["queue_full", "deadline"]) -> Overloaded:
        """Count a query that is refused, and say when to ask again."""
        if self._observer is not None:
            self._observer.rejected_query(reason)
        waiting = len(self._waiters)
        retry_after_s = max(1, math.ceil(waiting * self._service_s / self.slots))
        full, deadline = self._names
        found = full if reason == "queue_full" else f"its turn did not come within {self._deadline_s:g} s ({deadline})"
        return Overloaded(f"the service is busy: {found}; try again in {retry_after_s} s", retry_after_s)

    def expect_concurrency(self) -> None:
        """Say that several queries come now, so that the first one does not take all cores."""
        self._met_s = time.monotonic()

    @contextmanager
    def slot(self) -> Iterator[Slot]:
        """Wait for a slot, and give it back when the block is left.

        Raises:
            Overloaded: the queue is full, or the turn did not come in time.
            ClientGone: nobody waits for the answer any more.
        """
        context = current_context() or RequestContext()
        asked_s = time.monotonic()
        has_waited = self._take(context, asked_s)
        slot, began_s = Slot(self), time.monotonic()
        try:
            if has_waited and context.is_disconnected():
                raise self._gone()
            if self._is_first_work:
                context.is_admitted = True
            if self._observer is not None:
                self._observer.admitted(began_s - asked_s)
            yield slot
        finally:
            self._give_back(slot.cores, time.monotonic() - began_s, context.is_batch)

    def _take(self, context: RequestContext, now_s: float) -> bool:
        """Take a slot; whether it had to be waited for."""
        # One query of a batch has been admitted: the others only wait, from now on. They are as few as there are cores.
        is_first = not (self._is_first_work and context.is_admitted)
        until_s = (context.arrived_s if self._is_first_work and is_first else now_s) + self._deadline_s
        if until_s <= now_s:
            raise self.refusal("deadline")
        waiter = QueuedQuery(context, is_first)
        with self._lock:
            if self._free < self.slots:
                self._met_s = now_s
            waits_first = self._waiters.has_single if not context.is_batch else len(self._waiters) > 0
            if not waits_first and self._start(context.is_batch):
                return False
            is_full = len(self._waiters) >= self.queue and is_first and not self._displace(context)
            if not is_full:
                self._waiters.add(waiter)
                self._let_in()  # who waits may be queries of batches, which leave slots free
        if is_full:
            raise self.refusal("queue_full")
        self._wait(waiter, until_s)
        return True

    def _displace(self, context: RequestContext) -> bool:
        """Displace a query of another client for one of this client, if fair; return whether it was."""
        displaced = self._waiters.evictable(context.client)
        if displaced is None:
            return False
        self._waiters.remove(displaced)
        displaced.is_evicted = True
        displaced.turn.set()
        return True

    def _wait(self, waiter: QueuedQuery, until_s: float) -> None:
        if self._observer is not None:
            self._observer.waiting(1)
        try:
            has_turn = waiter.turn.wait(until_s - time.monotonic())
            with self._lock:
                has_turn = has_turn or waiter.turn.is_set()  # at the last moment
                if not has_turn:
                    self._waiters.remove(waiter)
        finally:
            if self._observer is not None:
                self._observer.waiting(-1)
        if waiter.is_evicted:
            raise self.refusal("queue_full")
        if not has_turn:
            raise self.refusal("deadline")

    def _start(self, is_batch: bool) -> bool:
        """Take a slot if one is free, and return whether it was; a batch leaves some to single queries."""
        is_allowed = self._free > 0 and (not is_batch or self._n_batch < self._most_batch())
        if is_allowed:
            self._free -= 1
            self._n_batch += is_batch
        return is_allowed

    def _most_batch(self) -> int:
        """How many slots queries of batches may have now."""
        return max(1, self.slots // 2 if self._waiters.has_single else self.slots - 1)

    def _let_in(self) -> None:
        while self._free and (waiter := self._waiters.take_next(self._n_batch < self._most_batch())) is not None:
            self._free -= 1
            self._n_batch += waiter.context.is_batch
            waiter.turn.set()

    def _take_rest(self) -> int:
        """How many more slots were taken."""
        with self._lock:
            is_alone = self._free == self.slots - 1 and time.monotonic() - self._met_s > _COMPANY_S
            taken = self._free if is_alone else 0
            self._free -= taken
            return taken

    def _give_back(self, cores: int, took_s: float, is_batch: bool) -> None:
        with self._lock:
            self._service_s += _NEWEST_SHARE * (took_s - self._service_s)
            self._free += cores
            self._n_batch -= is_batch
            self._let_in()

    def _gone(self) -> ClientGone:
        if self._observer is not None:
            self._observer.rejected_query("client_gone")
        return ClientGone("the client has closed its connection before its turn came")


def costly_search_admission(cores: int, observer: AdmissionObserver | None = None) -> AdmissionController:
    """The admission of searches that take a core for long: they leave one core to all others, where there are several.

    Args:
        cores: of this process.
        observer: is told what becomes of them.
    """
    names = ("as many costly searches wait already as may", "of a costly search")
    return AdmissionController(max(1, cores - 1), SEARCH_QUEUE, DEADLINE_S, observer, is_first_work=False, names=names)
