"""A bounded queue in which callers take turns: whoever sends many queries waits behind his own. Not safe by itself."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from search_service.admission.request_context import RequestContext


@dataclass(eq=False)
class QueuedQuery:
    """A query in the queue.

    Attributes:
        context: of its request.
        is_first: whether no query of the request has had its turn: only then may it be displaced.
        turn: set when it has a slot, or is displaced.
        is_evicted: whether it was refused in favour of another caller's.
    """

    context: RequestContext
    is_first: bool = True
    turn: threading.Event = field(default_factory=threading.Event)
    is_evicted: bool = False

    @property
    def line(self) -> tuple[str, bool]:
        """Queries of the same line are served in the order in which they came."""
        return self.context.client, self.context.is_batch


class FairQueue:
    """The queries that wait, in a line per caller; single queries and those of batches have lines of their own."""

    def __init__(self) -> None:
        """Empty."""
        self._lines: OrderedDict[tuple[str, bool], list[QueuedQuery]] = OrderedDict()  # whose turn is next comes first
        self._count = 0

    def __len__(self) -> int:
        """How many wait."""
        return self._count

    @property
    def has_single(self) -> bool:
        """Whether a query waits that is of no batch."""
        return any(not is_batch for _, is_batch in self._lines)

    def add(self, waiter: QueuedQuery) -> None:
        """Put a query at the end of its line."""
        self._lines.setdefault(waiter.line, []).append(waiter)
        self._count += 1

    def remove(self, waiter: QueuedQuery) -> None:
        """Take a query out."""
        line = self._lines[waiter.line]
        line.remove(waiter)
        self._count -= 1
        if not line:
            del self._lines[waiter.line]

    def take_next(self, with_batches: bool) -> QueuedQuery | None:
        """Take out the query whose turn it is; None where there is none, or only such of batches."""
        for line, waiters in self._lines.items():
            if with_batches or not line[1]:
                self._lines.move_to_end(line)
                waiter = waiters[0]
                self.remove(waiter)
                return waiter
        return None

    def evictable(self, newcomer: str) -> QueuedQuery | None:
        """The newest query of the caller that has most, if a newcomer's caller has at least two fewer."""
        by_caller: dict[str, list[QueuedQuery]] = {}
        for (name, _), waiters in self._lines.items():
            by_caller.setdefault(name, []).extend(waiter for waiter in waiters if waiter.is_first)
        most = max(by_caller.values(), key=len, default=[])
        return most[-1] if len(most) >= len(by_caller.get(newcomer, ())) + 2 else None
