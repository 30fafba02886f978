"""Observers of admission, such as metrics."""

from typing import Literal, Protocol

RejectReason = Literal["queue_full", "deadline", "client_gone"]


class AdmissionObserver(Protocol):
    """Receives the events of an `AdmissionController`, on the threads of the queries."""

    def waiting(self, change: int) -> None:
        """Add `change` to the number of queued queries."""

    def admitted(self, waited_s: float) -> None:
        """Note that a query has its slot after `waited_s` seconds."""

    def rejected_query(self, reason: RejectReason) -> None:
        """Note that a query was rejected."""


class NoObserver:
    """Ignores all events."""

    def waiting(self, change: int) -> None:
        """Do nothing."""

    def admitted(self, waited_s: float) -> None:
        """Do nothing."""

    def rejected_query(self, reason: RejectReason) -> None:
        """Do nothing."""
