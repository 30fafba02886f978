"""The JSON bodies of the probes: `GET /healthz` and `GET /readyz`."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from search_service.api.responses.fields import SnapshotId, exactly
from search_service.snapshots.version import SnapshotRejection


@exactly
class RefusedJson(TypedDict):
    """A published snapshot that is not served, and why."""

    snapshot_id: str | None
    reason: str


@exactly
class WatchJson(TypedDict):
    """Reading snapshots hangs: newer ones may not be served until it ends."""

    stuck_for_s: Annotated[float, Field(ge=0, description="Duration in seconds.")]


@exactly
class ReadyJson(TypedDict):
    """The served snapshot."""

    status: Literal["ready"]
    snapshot_id: SnapshotId
    refused: NotRequired[RefusedJson]
    watch: NotRequired[WatchJson]


@exactly
class HealthJson(TypedDict):
    """The process is up."""

    status: Literal["ok"]


def ready_json(
    snapshot_id: str, rejection: SnapshotRejection | None, stuck_for_s: float | None = None, is_operator: bool = True
) -> ReadyJson:
    """Return the served snapshot, and why it is not the published one.

    Args:
        snapshot_id: of the served snapshot.
        rejection: of the published snapshot, if any.
        stuck_for_s: seconds for which reading snapshots has been hanging, if it is.
        is_operator: True to report the reason of a rejection with paths.
    """
    ready: ReadyJson = {"status": "ready", "snapshot_id": snapshot_id}
    if rejection is not None:
        reason = rejection.reason if is_operator else rejection.public_reason
        ready["refused"] = {"snapshot_id": rejection.snapshot_id, "reason": reason}
    if stuck_for_s is not None:
        ready["watch"] = {"stuck_for_s": round(stuck_for_s, 1)}
    return ready
