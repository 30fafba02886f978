"""The JSON body of kept feedback: `POST /v1/feedback`."""

from typing_extensions import TypedDict

from search_service.api.responses.fields import SnapshotId, exactly
from shared.feedback_record import FeedbackRecord


@exactly
class FeedbackJson(TypedDict):
    """The response to feedback."""

    snapshot_id: SnapshotId
    feedback_id: str
    category: str


def feedback_json(record: FeedbackRecord) -> FeedbackJson:
    """Return the response to feedback."""
    return {"snapshot_id": record.snapshot_id, "feedback_id": record.feedback_id, "category": record.category}
