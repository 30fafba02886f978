"""Who asks: when the request arrived, and whether its client still waits. Knows nothing of the web."""

import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass
class Caller:
    """The client of one request.

    Attributes:
        arrived_s: when the whole request was there, by `time.monotonic()`.
        is_gone: asks whether nobody waits for the answer any more.
        is_admitted: whether a query of the request has had its turn.
    """

    arrived_s: float = field(default_factory=time.monotonic)
    is_gone: Callable[[], bool] = lambda: False
    is_admitted: bool = False


_current: ContextVar[Caller | None] = ContextVar("caller", default=None)


def current_caller() -> Caller | None:
    """Who asks in this context; None where nobody was named."""
    return _current.get()


def set_caller(caller: Caller | None) -> None:
    """Name who asks in this context, which a thread that is started for it has to be given a copy of."""
    _current.set(caller)
