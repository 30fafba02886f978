"""What answers look like, as typed JSON: it describes them in OpenAPI too."""

from collections.abc import Collection
from typing import Annotated, Any, Literal, NotRequired, cast
from urllib.parse import quote

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict  # pydantic wants this one before Python 3.12

from search_service.api.schemas import Options
from search_service.snapshots.version import SnapshotRejection
from shared.catalogue.items import Item
from shared.feedback_record import Feedback
from shared.retrieval.results import ItemHit, Prediction, SearchResult
from shared.text.shorten import shortened
from shared.text.unicode_forms import unicode_forms

SnapshotId = Annotated[str, Field(description="The snapshot that the answer comes from.")]
Probability = Annotated[float, Field(ge=0, le=1)]
Milliseconds = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]
ImageUrl = Annotated[str, Field(description="Path of the image on this service, encoded already.")]
Metadata = Annotated[dict[str, Any], Field(description="What the catalogue has in further columns.")]
MAX_MESSAGE_CHARS = 1000

exactly = with_config(ConfigDict(extra="forbid"))
"""Of a typed dictionary: it has no other field."""


@exactly
class ErrorDetailJson(TypedDict):
    """What was wrong."""

    code: Annotated[str, Field(description="Stable, for programs.")]
    message: Annotated[str, Field(description="For people: what was found, and what was wanted.")]
    request_id: Annotated[str, Field(description="As in the header `X-Request-ID` and in the service's log.")]


@exactly
class ErrorJson(TypedDict):
    """The one body of all errors."""

    error: ErrorDetailJson


@exactly
class CandidateJson(TypedDict):
    """A category and how probable it is, calibrated."""

    category: str
    confidence: Probability


@exactly
class QueryJson(CandidateJson):
    """What the query shows."""

    known: Annotated[bool | None, Field(description="Whether it shows one of the categories; null: not judged.")]
    known_score: Annotated[
        float | None, Field(description="How far it lies above the threshold of its category, in standard deviations.")
    ]
    candidates: Annotated[list[CandidateJson], Field(description="The most probable categories, best first.")]


@exactly
class TimingJson(TypedDict):
    """Milliseconds by stage."""

    decode: Milliseconds
    embed: Milliseconds
    classify: Milliseconds
    search: Milliseconds
    total: Milliseconds


@exactly
class HitJson(TypedDict):
    """An item found."""

    rank: Annotated[int, Field(ge=1)]
    item_id: str
    score: Annotated[float, Field(description="Cosine, higher is better.")]
    category: str
    image_url: ImageUrl
    metadata: Metadata
    group: Annotated[
        NotRequired[str | int | float | bool | None],
        Field(description="With `group_by`, the item's value in that field; null where it is a group of its own."),
    ]
    duplicates: Annotated[
        NotRequired[list[str]],
        Field(description="With `collapse_above`, the ids of the items folded into this one, best first."),
    ]


@exactly
class ClassifiedJson(TypedDict):
    """The answer to `classify`."""

    snapshot_id: SnapshotId
    query: QueryJson
    timing_ms: TimingJson


@exactly
class SearchedJson(TypedDict):
    """The answer to a search."""

    snapshot_id: SnapshotId
    query: QueryJson
    searched: Annotated[list[str], Field(description="The categories that were searched.")]
    hits: Annotated[list[HitJson], Field(description="Best first; equal scores in the catalogue's order.")]
    timing_ms: TimingJson


@exactly
class BatchJson(TypedDict):
    """The answer to several searches: for each in its order its answer, or why it has none."""

    snapshot_id: SnapshotId
    results: list[SearchedJson | ErrorJson]


@exactly
class FeedbackJson(TypedDict):
    """The answer to feedback that was kept."""

    snapshot_id: SnapshotId
    feedback_id: str
    category: str


@exactly
class RefusedJson(TypedDict):
    """A published snapshot that is not served, and why."""

    snapshot_id: str | None
    reason: str


@exactly
class WatchJson(TypedDict):
    """Reading snapshots hangs: newer ones may not be served before it ends."""

    stuck_for_s: Annotated[float, Field(ge=0, description="For how long, in seconds.")]


@exactly
class ReadyJson(TypedDict):
    """What is being served."""

    status: Literal["ready"]
    snapshot_id: SnapshotId
    refused: NotRequired[RefusedJson]
    watch: NotRequired[WatchJson]


@exactly
class HealthJson(TypedDict):
    """The process is up."""

    status: Literal["ok"]


def searched_json(answer: SearchResult, options: Options, prefix: str = "") -> SearchedJson:
    """The answer to a search with these options; `prefix` is the path that the service is found below."""
    return {
        "snapshot_id": answer.snapshot_id,
        "query": _query_json(answer),
        "searched": list(answer.searched),
        "hits": [_hit_json(hit, options, prefix) for hit in answer.hits],
        "timing_ms": _timing_json(answer),
    }


def batch_json(snapshot_id: str, results: list[SearchedJson | ErrorJson]) -> BatchJson:
    """The answer to several searches."""
    return {"snapshot_id": snapshot_id, "results": results}


def classified_json(answer: SearchResult) -> ClassifiedJson:
    """The answer where nothing was searched."""
    return {"snapshot_id": answer.snapshot_id, "query": _query_json(answer), "timing_ms": _timing_json(answer)}


def feedback_json(record: Feedback) -> FeedbackJson:
    """The answer to feedback that was kept."""
    return {"snapshot_id": record.snapshot_id, "feedback_id": record.feedback_id, "category": record.category}


def ready_json(
    snapshot_id: str, rejection: SnapshotRejection | None, stuck_for_s: float | None = None, is_operator: bool = True
) -> ReadyJson:
    """What is being served, and why that is not what is published.

    Args:
        snapshot_id: of what is served.
        rejection: of what is published, if that is another.
        stuck_for_s: for how long reading snapshots has been hanging, if it does.
        is_operator: whether to tell the reason of a rejection, which has paths of the machine.
    """
    ready: ReadyJson = {"status": "ready", "snapshot_id": snapshot_id}
    if rejection is not None:
        reason = rejection.reason if is_operator else rejection.public_reason
        ready["refused"] = {"snapshot_id": rejection.snapshot_id, "reason": reason}
    if stuck_for_s is not None:
        ready["watch"] = {"stuck_for_s": round(stuck_for_s, 1)}
    return ready


def error_json(code: str, message: str, request_id: str) -> ErrorJson:
    """The one body of all errors; whoever wrote the message, at most `MAX_MESSAGE_CHARS` of it are told."""
    return {"error": {"code": code, "message": shortened(message, MAX_MESSAGE_CHARS), "request_id": request_id}}


def image_url(item_id: str, prefix: str = "") -> str:
    """Where the service hands out an item's first image; `prefix` is the path that the service is found below."""
    return f"{prefix}/v1/items/{quote(item_id, safe='')}/image"


def metadata_json(item: Item, fields: Collection[str] | None) -> dict[str, Any]:
    """An item's metadata: these fields of it, or all."""
    if fields is None:
        return dict(item.metadata)
    return {name: value for name, value in item.metadata.items() if _is_among(name, fields)}


def _is_among(name: str, fields: Collection[str]) -> bool:
    return name in fields or any(form in fields for form in unicode_forms(name))


def _query_json(answer: SearchResult) -> QueryJson:
    return {
        **_candidate_json(answer.predicted),
        "known": answer.ood_verdict.in_distribution,
        "known_score": answer.ood_verdict.score,
        "candidates": [_candidate_json(one) for one in answer.candidates],
    }


def _candidate_json(candidate: Prediction) -> CandidateJson:
    return {"category": candidate.category, "confidence": round(candidate.confidence, 6)}


def _hit_json(hit: ItemHit, options: Options, prefix: str) -> HitJson:
    found: HitJson = {
        "rank": hit.rank,
        "item_id": hit.item.item_id,
        "score": hit.score,
        "category": hit.item.category,
        "image_url": image_url(hit.item.item_id, prefix),
        "metadata": metadata_json(hit.item, options.fields),
    }
    if options.group_by is not None:
        found["group"] = hit.group
    if options.collapse_above is not None:
        found["duplicates"] = list(hit.duplicates)
    return found


def _timing_json(answer: SearchResult) -> TimingJson:
    return cast(TimingJson, {stage: round(milliseconds, 3) for stage, milliseconds in answer.timing_ms.items()})
