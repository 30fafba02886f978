"""Versions of the published snapshot, and the rejection of one that cannot be served."""

from dataclasses import dataclass

from shared.errors import NotReady, StoreUnavailable


@dataclass(frozen=True)
class SnapshotVersion:
    """The published snapshot at one time.

    Attributes:
        snapshot_id: named by `current`.
        written_ns: when its manifest was written; a rejected snapshot is opened again when this changes.
    """

    snapshot_id: str
    written_ns: int


@dataclass(frozen=True)
class SnapshotRejection:
    """The rejection of a published snapshot.

    Attributes:
        version: of the rejected snapshot; None if `current` could not be read.
        reason: a message that may contain paths.
        is_temporary: True if the cause is not the snapshot; opening is then retried at every poll.
    """

    version: SnapshotVersion | None
    reason: str
    is_temporary: bool = False

    @property
    def public_reason(self) -> str:
        """A sentence without paths."""
        if self.is_temporary:
            return "the vector server does not answer"
        problem = "`current` cannot be read" if self.version is None else "it cannot be opened or is damaged"
        return f"{problem}; see the service's log, or GET /readyz with an API key"

    @property
    def snapshot_id(self) -> str | None:
        """The id of the rejected snapshot, if known."""
        return self.version.snapshot_id if self.version else None


def not_serving_error(rejection: SnapshotRejection | None, is_operator: bool = True) -> NotReady | StoreUnavailable:
    """Return the error of requests while no snapshot is served; only operators get reasons with paths."""
    if rejection is None:
        return NotReady("no snapshot is being served: none has been opened yet")
    kind = StoreUnavailable if rejection.is_temporary else NotReady
    return kind(f"no snapshot is being served: {rejection.reason if is_operator else rejection.public_reason}")
