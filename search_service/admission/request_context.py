"""The client of a request: its name, when it asked, whether it still waits; and how long work for it may take.

Knows nothing of the web.
"""

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from shared.errors import ClientGone, Overloaded

SEARCH_S = 5.0
"""Seconds that one search may take, without what is done before it is searched."""

_UNASKED_S = 0.25


@dataclass
class RequestContext:
    """The client of one request.

    Attributes:
        arrived_s: when the whole request was there, by `time.monotonic()`.
        is_gone: asks whether nobody waits for the answer any more.
        is_admitted: whether a query of the request has had its turn.
        name: of the API key, or the address without one: requests of the same name have one share of what is scarce.
        is_batch: whether the request has several queries.
    """

    arrived_s: float = field(default_factory=time.monotonic)
    is_gone: Callable[[], bool] = lambda: False
    is_admitted: bool = False
    name: str = ""
    is_batch: bool = False


_current: ContextVar[RequestContext | None] = ContextVar("caller", default=None)


def current_context() -> RequestContext | None:
    """Who asks in this context; None where nobody was named."""
    return _current.get()


def set_context(caller: RequestContext | None) -> None:
    """Name who asks in this context, which a thread that is started for it has to be given a copy of."""
    _current.set(caller)


@dataclass(frozen=True)
class SearchDeadline:
    """When work for a caller ends: at a deadline, or when its client is gone.

    Attributes:
        caller: for whom it is done.
        until_s: the deadline, by `time.monotonic()`.
        most_s: how long it may take in all, for the message.
    """

    caller: RequestContext
    until_s: float
    most_s: float

    @classmethod
    def of_search(cls) -> "SearchDeadline":
        """For a search that begins now, for the current caller."""
        return cls(current_context() or RequestContext(), time.monotonic() + SEARCH_S, SEARCH_S)

    def check(self) -> None:
        """Go on, or not; called between parts of the work that take no longer than some milliseconds.

        Raises:
            ClientGone: nobody waits for the answer any more.
            Overloaded: the deadline has passed.
        """
        now_s = time.monotonic()
        # A client that has only ended its own side looks as if it were gone: what takes no time is done all the same.
        if now_s > self.caller.arrived_s + _UNASKED_S and self.caller.is_gone():
            raise ClientGone("the client has closed its connection before its search was done")
        if now_s > self.until_s:
            raise Overloaded(f"the search took longer than {self.most_s:g} s: ask for less, or try again later")
