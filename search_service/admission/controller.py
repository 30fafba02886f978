"""Admission control: a bounded number of queries at work at once, and a short queue with a deadline behind them.

1. A query takes a free slot, or queues. Clients take turns; the queries of one client keep their order.
2. It is rejected with `Overloaded` if the queue is full, or if no slot is free before its deadline. In a full queue, a
   client that has fewer queries evicts the newest one of the client that has most.
3. A queued query whose client has disconnected by its turn is dropped with `ClientGone`. One that did not queue is
   answered anyway: a client that has only shut down its sending side looks disconnected too.
4. A query that is alone may take all slots, for one inference on all cores.
5. Batches leave a slot to single queries; while single queries are queued, batches have half of the slots.

See docs/decisions/0015-admission-control.md.
"""

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from search_service.admission.fair_queue import FairQueue, QueuedQuery
from search_service.admission.observer import AdmissionObserver, NoObserver
from search_service.admission.request_context import RequestContext, current_context
from search_service.admission.slot_pool import SlotPool
from shared.errors import ClientGone, Overloaded

QUEUE = 64
DEADLINE_S = 2.0
SEARCH_QUEUE = 16
_SLOW_DECODES, _SLOW_DECODE_QUEUE, _SLOW_DECODE_DEADLINE_S = 1, 4, 10.0
_NEWEST_SHARE = 0.1


class Slot:
    """The right to use one core, or more while no other query needs them."""

    def __init__(self, controller: "AdmissionController") -> None:
        """Use `AdmissionController.slot` instead."""
        self._controller = controller
        self.cores = 1

    def take_idle_cores(self) -> bool:
        """Take all cores if no other query was there lately; return True if it has them. Newcomers then queue."""
        self.cores += self._controller._take_rest()
        return self.cores == self._controller.slots


class AdmissionController:
    """The slots of one process; thread-safe.

    Attributes:
        slots: largest number of queries at work at once.
    """

    def __init__(
        self,
        slots: int,
        queue: int = QUEUE,
        deadline_s: float = DEADLINE_S,
        observer: AdmissionObserver | None = None,
        starts_request: bool = True,
        queue_name: str = "query queue",
    ) -> None:
        """Make the slots, all free.

        Args:
            slots: largest number of queries at work at once.
            queue: largest number of queued queries.
            deadline_s: longest time in the queue.
            observer: receives the events.
            starts_request: True if this is the first work for a request: the deadline of its first query then counts
                from the request's arrival, and its further queries are queued even if the queue is full.
            queue_name: of the queue, for messages.
        """
        self.slots = slots
        self._max_queued = queue
        self._deadline_s = deadline_s
        self._observer = observer or NoObserver()
        self._starts_request = starts_request
        self._queue_name = queue_name
        self._pool = SlotPool(slots)
        self._queue = FairQueue()
        self._lock = threading.Lock()
        self._service_s = 0.0

    def reject_if_full(self) -> None:
        """Reject a query that could not be queued, before any work is done for it.

        Raises:
            Overloaded: the queue is full, and no other client has more queries in it than the current one.
        """
        context = current_context()
        with self._lock:
            is_full = len(self._queue) >= self._max_queued and not self._pool.free
            may_evict = context is not None and self._queue.evictable(context.client) is not None
        if is_full and not may_evict:
            raise self.overloaded("queue_full")

    def overloaded(self, reason: Literal["queue_full", "deadline"]) -> Overloaded:
        """Count a rejected query, and return its error with the time to retry after."""
        self._observer.rejected_query(reason)
        retry_after_s = max(1, math.ceil(len(self._queue) * self._service_s / self.slots))
        name, wait = self._queue_name, f"{self._deadline_s:g} s"
        cause = f"the {name} is full" if reason == "queue_full" else f"no free slot after {wait} in the {name}"
        return Overloaded(f"the service is busy: {cause}; retry in {retry_after_s} s", retry_after_s)

    def expect_concurrency(self) -> None:
        """Note that several queries come now, so that the first one does not take all cores."""
        self._pool.note_contention(time.monotonic())

    @contextmanager
    def slot(self) -> Iterator[Slot]:
        """Hold a slot during the block, once one is free.

        Raises:
            Overloaded: the queue is full, or the deadline has passed.
            ClientGone: the client disconnected while its query was queued.
        """
        context = current_context() or RequestContext()
        asked_s = time.monotonic()
        was_queued = self._take(context, asked_s)
        slot, began_s = Slot(self), time.monotonic()
        try:
            if was_queued and context.is_disconnected():
                self._observer.rejected_query("client_gone")
                raise ClientGone("the client disconnected while its query was queued")
            if self._starts_request:
                context.is_admitted = True
            self._observer.admitted(began_s - asked_s)
            yield slot
        finally:
            self._give_back(slot.cores, time.monotonic() - began_s, context.is_batch)

    def _take(self, context: RequestContext, now_s: float) -> bool:
        """Take a slot; return True if the query was queued for it."""
        # Once a query of a batch is admitted, the others only wait: they are as few as there are cores.
        is_first = not (self._starts_request and context.is_admitted)
        deadline_s = (context.arrived_s if self._starts_request and is_first else now_s) + self._deadline_s
        if deadline_s <= now_s:
            raise self.overloaded("deadline")
        query = QueuedQuery(context, is_first)
        with self._lock:
            if self._pool.free < self.slots:
                self._pool.note_contention(now_s)
            if self._has_free_slot(context.is_batch):
                self._pool.take(context.is_batch)
                return False
            is_full = len(self._queue) >= self._max_queued and is_first and not self._evict_for(context.client)
            if not is_full:
                self._queue.add(query)
                self._admit_queued()  # the queue may hold only queries of batches, which leave slots free
        if is_full:
            raise self.overloaded("queue_full")
        self._wait(query, deadline_s)
        return True

    def _has_free_slot(self, is_batch: bool) -> bool:
        """Return True if a newcomer may take a slot at once, past no query that is queued before it."""
        if is_batch:
            return self._pool.free > 0 and not len(self._queue) and self._pool.allows_batch(single_waits=False)
        return self._pool.free > 0 and not self._queue.has_single

    def _evict_for(self, client: str) -> bool:
        """Evict another client's query in favour of `client`; return False if that would not be fair."""
        evicted = self._queue.evictable(client)
        if evicted is None:
            return False
        self._queue.remove(evicted)
        evicted.is_evicted = True
        evicted.ready.set()
        return True

    def _wait(self, query: QueuedQuery, deadline_s: float) -> None:
        self._observer.waiting(1)
        try:
            is_ready = query.ready.wait(deadline_s - time.monotonic())
            with self._lock:
                is_ready = is_ready or query.ready.is_set()  # at the last moment
                if not is_ready:
                    self._queue.remove(query)
        finally:
            self._observer.waiting(-1)
        if query.is_evicted:
            raise self.overloaded("queue_full")
        if not is_ready:
            raise self.overloaded("deadline")

    def _admit_queued(self) -> None:
        """Give free slots to queued queries."""
        while self._pool.free:
            query = self._queue.pop_next(self._pool.allows_batch(self._queue.has_single))
            if query is None:
                return
            self._pool.take(query.context.is_batch)
            query.ready.set()

    def _take_rest(self) -> int:
        with self._lock:
            return self._pool.take_rest(time.monotonic())

    def _give_back(self, cores: int, took_s: float, is_batch: bool) -> None:
        with self._lock:
            self._service_s += _NEWEST_SHARE * (took_s - self._service_s)
            self._pool.give_back(cores, is_batch)
            self._admit_queued()


def costly_search_admission(cores: int, observer: AdmissionObserver | None = None) -> AdmissionController:
    """Return the admission of costly searches, which leave one of several cores to other work.

    Args:
        cores: of this process.
        observer: receives the events.
    """
    slots, queue_name = max(1, cores - 1), "queue of costly searches"
    return AdmissionController(slots, SEARCH_QUEUE, DEADLINE_S, observer, starts_request=False, queue_name=queue_name)


def slow_decode_admission() -> AdmissionController:
    """Return the admission of images that are slow to decode, apart from all other work."""
    return AdmissionController(
        _SLOW_DECODES,
        _SLOW_DECODE_QUEUE,
        _SLOW_DECODE_DEADLINE_S,
        starts_request=False,
        queue_name="queue of images that are slow to decode",
    )
