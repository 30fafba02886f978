"""The context of a request: its client, its arrival, and whether the client still waits."""

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass
class RequestContext:
    """The context of one request.

    Attributes:
        arrived_s: when the request was complete, by `time.monotonic()`.
        is_disconnected: returns True if the client has closed its connection.
        is_admitted: True if a query of the request has had a slot.
        client: name of the API key, or the address without one; requests of one client share its fair share.
        is_batch: True if the request has several queries.
    """

    arrived_s: float = field(default_factory=time.monotonic)
    is_disconnected: Callable[[], bool] = lambda: False
    is_admitted: bool = False
    client: str = ""
    is_batch: bool = False


_current: ContextVar[RequestContext | None] = ContextVar("request_context", default=None)


def current_context() -> RequestContext | None:
    """Return the context of the request that this thread works for; None outside a request."""
    return _current.get()


def set_context(context: RequestContext | None) -> None:
    """Set the current context; a helper thread gets it by a copy of the `contextvars` context."""
    _current.set(context)
