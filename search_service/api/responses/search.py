"""The JSON bodies of searches and classification."""

from typing import Annotated, NotRequired, cast

from pydantic import Field
from typing_extensions import TypedDict

from search_service.api.responses.errors import ErrorJson
from search_service.api.responses.fields import (
    ImageUrl,
    Metadata,
    Milliseconds,
    Probability,
    SnapshotId,
    exactly,
    image_url,
    metadata_json,
)
from search_service.api.schemas import Options
from shared.retrieval.results import ItemHit, Prediction, SearchResult


@exactly
class CandidateJson(TypedDict):
    """A category and its calibrated probability."""

    category: str
    confidence: Probability


@exactly
class QueryJson(CandidateJson):
    """The prediction for the query."""

    known: Annotated[
        bool | None,
        Field(description="False if it shows none of the categories (out of distribution); null if unknown."),
    ]
    known_score: Annotated[
        float | None, Field(description="Distance above the threshold of its category, in standard deviations.")
    ]
    candidates: Annotated[list[CandidateJson], Field(description="The most probable categories, best first.")]
    text: Annotated[
        NotRequired[str], Field(description="The text as it was understood: the words that the catalogue uses.")
    ]
    unknown_words: Annotated[
        NotRequired[list[str]], Field(description="With a text, those of its words that the catalogue never uses.")
    ]


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
    """A hit."""

    rank: Annotated[int, Field(ge=1)]
    item_id: str
    score: Annotated[float, Field(description="Cosine similarity; higher is better.")]
    category: str
    image_url: ImageUrl
    metadata: Metadata
    group: Annotated[
        NotRequired[str | int | float | bool | None],
        Field(description="With `group_by`, the item's value in that field; null if it is a group of its own."),
    ]
    duplicates: Annotated[
        NotRequired[list[str]],
        Field(description="With `collapse_above`, the ids of the items folded into this one, best first."),
    ]


@exactly
class ClassifiedJson(TypedDict):
    """The response to a classification."""

    snapshot_id: SnapshotId
    query: QueryJson
    timing_ms: TimingJson


@exactly
class SearchedJson(TypedDict):
    """The response to a search."""

    snapshot_id: SnapshotId
    query: QueryJson
    searched: Annotated[list[str], Field(description="The categories that were searched.")]
    hits: Annotated[list[HitJson], Field(description="Best first, equal ones in the catalogue's order.")]
    timing_ms: TimingJson


@exactly
class BatchJson(TypedDict):
    """The response to a batch: for each query, in order, its response or its error."""

    snapshot_id: SnapshotId
    results: list[SearchedJson | ErrorJson]


def searched_json(result: SearchResult, options: Options, prefix: str = "") -> SearchedJson:
    """Return the response to a search; `prefix` is the path below which the service is reached."""
    return {
        "snapshot_id": result.snapshot_id,
        "query": _query_json(result),
        "searched": list(result.searched),
        "hits": [_hit_json(hit, options, prefix) for hit in result.hits],
        "timing_ms": _timing_json(result),
    }


def batch_json(snapshot_id: str, results: list[SearchedJson | ErrorJson]) -> BatchJson:
    """Return the response to a batch."""
    return {"snapshot_id": snapshot_id, "results": results}


def classified_json(result: SearchResult) -> ClassifiedJson:
    """Return the response to a classification."""
    return {"snapshot_id": result.snapshot_id, "query": _query_json(result), "timing_ms": _timing_json(result)}


def _query_json(result: SearchResult) -> QueryJson:
    body: QueryJson = {
        "category": result.predicted.category,
        "confidence": round(result.predicted.confidence, 6),
        "known": result.ood_verdict.in_distribution,
        "known_score": result.ood_verdict.score,
        "candidates": [_candidate_json(candidate) for candidate in result.candidates],
    }
    if result.understood is not None:
        body["text"] = result.understood.text
        body["unknown_words"] = list(result.understood.unknown_words)
    return body


def _candidate_json(candidate: Prediction) -> CandidateJson:
    return {"category": candidate.category, "confidence": round(candidate.confidence, 6)}


def _hit_json(hit: ItemHit, options: Options, prefix: str) -> HitJson:
    body: HitJson = {
        "rank": hit.rank,
        "item_id": hit.item.item_id,
        "score": hit.score,
        "category": hit.item.category,
        "image_url": image_url(hit.item.item_id, prefix),
        "metadata": metadata_json(hit.item, options.fields),
    }
    if options.group_by is not None:
        body["group"] = hit.group
    if options.collapse_above is not None:
        body["duplicates"] = list(hit.duplicates)
    return body


def _timing_json(result: SearchResult) -> TimingJson:
    return cast(TimingJson, {stage: round(milliseconds, 3) for stage, milliseconds in result.timing_ms.items()})
