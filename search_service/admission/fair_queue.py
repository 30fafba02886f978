"""Fair queueing: clients take turns, so one that sends many queries waits behind its own. Not thread-safe."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from search_service.admission.request_context import RequestContext


@dataclass(eq=False)
class QueuedQuery:
    """A query in the queue.

    Attributes:
        context: of its request.
        is_first: True if no query of the request has had a slot yet: only then may it be evicted.
        ready: set when it has a slot, or is evicted.
        is_evicted: True if it was rejected in favour of another client's query.
    """

    context: RequestContext
    is_first: bool = True
    ready: threading.Event = field(default_factory=threading.Event)
    is_evicted: bool = False

    @property
    def flow(self) -> tuple[str, bool]:
        """The client, and True for a batch; a flow is first in, first out."""
        return self.context.client, self.context.is_batch


class FairQueue:
    """A queue per flow, served in turn; the single queries and the batches of a client are separate flows."""

    def __init__(self) -> None:
        """Make an empty queue."""
        self._flows: OrderedDict[tuple[str, bool], list[QueuedQuery]] = OrderedDict()  # the next flow is first
        self._count = 0

    def __len__(self) -> int:
        """Return the number of queued queries."""
        return self._count

    @property
    def has_single(self) -> bool:
        """True if a query that belongs to no batch is queued."""
        return any(not is_batch for _, is_batch in self._flows)

    def add(self, query: QueuedQuery) -> None:
        """Append a query to its flow."""
        self._flows.setdefault(query.flow, []).append(query)
        self._count += 1

    def remove(self, query: QueuedQuery) -> None:
        """Remove a query."""
        flow = self._flows[query.flow]
        flow.remove(query)
        self._count -= 1
        if not flow:
            del self._flows[query.flow]

    def pop_next(self, include_batches: bool) -> QueuedQuery | None:
        """Remove and return the next query, of a batch only if `include_batches`; None if there is none."""
        for flow, queries in self._flows.items():
            if include_batches or not flow[1]:
                self._flows.move_to_end(flow)
                query = queries[0]
                self.remove(query)
                return query
        return None

    def evictable(self, newcomer: str) -> QueuedQuery | None:
        """Return the newest query of the client with the most, if `newcomer` has at least two fewer; else None."""
        by_client: dict[str, list[QueuedQuery]] = {}
        for (client, _), queries in self._flows.items():
            by_client.setdefault(client, []).extend(query for query in queries if query.is_first)
        most = max(by_client.values(), key=len, default=[])
        return most[-1] if len(most) >= len(by_client.get(newcomer, ())) + 2 else None
