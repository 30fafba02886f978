"""The deadline of a search, and its end when the client disconnects."""

import time
from dataclasses import dataclass

from search_service.admission.request_context import RequestContext, current_context
from shared.errors import ClientGone, Overloaded

SEARCH_S = 5.0
"""Longest time of one search, without decoding and embedding."""

_GRACE_S = 0.25


@dataclass(frozen=True)
class SearchDeadline:
    """Ends the search of one request.

    Attributes:
        context: of the request.
        deadline_s: by `time.monotonic()`.
        timeout_s: the time allowed in all, for the message.
    """

    context: RequestContext
    deadline_s: float
    timeout_s: float

    @classmethod
    def start(cls) -> "SearchDeadline":
        """Start the clock for the current request."""
        return cls(current_context() or RequestContext(), time.monotonic() + SEARCH_S, SEARCH_S)

    def check(self) -> None:
        """Raise if the search must end; call it between steps of a few milliseconds.

        Raises:
            ClientGone: the client has disconnected.
            Overloaded: the deadline has passed.
        """
        now_s = time.monotonic()
        # A client that has only shut down its sending side looks disconnected too: a quick search is finished anyway.
        if now_s > self.context.arrived_s + _GRACE_S and self.context.is_disconnected():
            raise ClientGone("the client disconnected before its search was done")
        if now_s > self.deadline_s:
            raise Overloaded(f"the search took longer than {self.timeout_s:g} s: request less, or retry later")
