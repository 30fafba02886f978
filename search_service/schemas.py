"""What requests may say and what answers look like, as JSON."""

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args
from urllib.parse import quote

from flask import Request

from search_service.answer import Answer, Candidate, ItemHit
from search_service.engine import SearchOptions
from search_service.snapshot_watch import Refusal
from search_service.told import Told
from search_service.verdict import OnUnknown
from shared.catalogue import Item
from shared.errors import InvalidEmbedding, InvalidRequest, UnsupportedBody
from shared.feedback import Feedback
from shared.manifest import CategoryEntry

_QUERY_FIELDS = ("image_base64", "item_id", "embedding")
OPTION_FIELDS = ("top_k", "category", "probe", "min_score", "on_unknown")
FEEDBACK_FIELDS = ("category", "clicked_item_id")
MAX_EXAMPLES = 12
_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True)
class Query:
    """What to search by: exactly one of these is there."""

    image: bytes | None = None
    item_id: str | None = None
    embedding: list[float] | None = None


def read_query(request: Request, option_fields: tuple[str, ...] = OPTION_FIELDS) -> tuple[Query, Mapping[str, Any]]:
    """Read a multipart or JSON body.

    Returns:
        The query, and the options as they came.

    Raises:
        UnsupportedBody: another content type.
        InvalidRequest: no query, more than one, or a field that there isn't.
    """
    if request.mimetype == "multipart/form-data":
        return _read_multipart(request, option_fields)
    if request.mimetype == "application/json":
        return _read_json(request, option_fields)
    found = request.mimetype or "without a content type"
    raise UnsupportedBody(f"the body is {found}; wanted multipart/form-data with a file `image`, or application/json")


def _read_multipart(request: Request, option_fields: tuple[str, ...]) -> tuple[Query, Mapping[str, Any]]:
    _refuse_unknown([*request.form, *request.files], ("image", *option_fields))
    files = request.files.getlist("image")
    if len(files) != 1:
        raise InvalidRequest(f"found {len(files)} files in the field `image`; wanted one")
    for name in request.form:
        if len(request.form.getlist(name)) > 1:
            raise InvalidRequest(f"`{name}` was given more than once")
    return Query(image=files[0].read()), request.form.to_dict()


def _read_json(request: Request, option_fields: tuple[str, ...]) -> tuple[Query, Mapping[str, Any]]:
    try:
        body = json.loads(request.get_data())
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"the body is no JSON: {error}") from error
    if not isinstance(body, dict):
        raise InvalidRequest(f"the body is a JSON {type(body).__name__}; wanted an object")
    _refuse_unknown(list(body), (*_QUERY_FIELDS, *option_fields))
    given = [name for name in _QUERY_FIELDS if body.get(name) is not None]
    if len(given) != 1:
        raise InvalidRequest(f"found {' and '.join(given) or 'nothing'} to search by; wanted one of {_QUERY_FIELDS}")
    options = {name: value for name, value in body.items() if name in option_fields and value is not None}
    return _QUERY_READERS[given[0]](body[given[0]]), options


def _refuse_unknown(names: list[str], known: tuple[str, ...]) -> None:
    for name in names:
        if name not in known:
            raise InvalidRequest(f"there is no field {name!r}; there are {', '.join(known)}")


def _image_base64(value: Any) -> Query:
    if not isinstance(value, str):
        raise InvalidRequest("`image_base64` is no string")
    try:
        return Query(image=base64.b64decode(value, validate=True))
    except (binascii.Error, ValueError) as error:
        raise InvalidRequest(f"`image_base64` is no base64: {error}") from error


def _item_id(value: Any) -> Query:
    return Query(item_id=_text("item_id", value))


def _text(name: str, value: Any) -> str:
    # A lone surrogate, which an escape in JSON lets in, is no character: no database takes it.
    if not isinstance(value, str) or not value or _SURROGATE.search(value):
        raise InvalidRequest(f"`{name}` is no text")
    return value


def _embedding(value: Any) -> Query:
    numbers = isinstance(value, list) and all(
        isinstance(one, int | float) and not isinstance(one, bool) for one in value
    )
    if not numbers:
        raise InvalidEmbedding("`embedding` is no list of numbers")
    return Query(embedding=value)


_QUERY_READERS = {"image_base64": _image_base64, "item_id": _item_id, "embedding": _embedding}


def read_options(given: Mapping[str, Any], max_top_k: int) -> SearchOptions:
    """Check options, which are text in forms and query strings, and JSON values elsewhere.

    Raises:
        InvalidRequest: it names the option, what was found and what was wanted.
    """
    options = SearchOptions()
    return SearchOptions(
        top_k=_whole("top_k", given.get("top_k", options.top_k), max_top_k),
        category=_category(given.get("category")),
        probe=_probe(given.get("probe", options.probe)),
        min_score=_score(given.get("min_score")),
        on_unknown=_on_unknown(given.get("on_unknown", options.on_unknown)),
    )


def read_told(given: Mapping[str, Any]) -> Told:
    """Check what is told of a query.

    Raises:
        InvalidRequest: neither field is there, or one that can't be.
    """
    clicked = given.get("clicked_item_id")
    return Told(_category(given.get("category")), None if clicked is None else _text("clicked_item_id", clicked))


def read_examples(given: str) -> int:
    """How many examples of each category are wanted.

    Raises:
        InvalidRequest: no number, or too large a one.
    """
    if not (given.isascii() and given.isdigit() and len(given) < 4 and int(given) <= MAX_EXAMPLES):
        raise InvalidRequest(f"`examples` is {given!r}; wanted a whole number from 0 to {MAX_EXAMPLES}")
    return int(given)


def _category(value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or not value):
        raise InvalidRequest(f"`category` is {value!r}; wanted the name of a category")
    return value


def _whole(name: str, value: Any, most: int) -> int:
    try:
        number = int(value) if isinstance(value, str) else value
    except ValueError:
        number = None
    if not isinstance(number, int) or isinstance(number, bool) or not 1 <= number <= most:
        raise InvalidRequest(f"`{name}` is {value!r}; wanted a whole number from 1 to {most}")
    return number


def _probe(value: Any) -> int | Literal["auto"]:
    if value == "auto":
        return "auto"
    try:
        return _whole("probe", value, 2**31)
    except InvalidRequest:
        raise InvalidRequest(f"`probe` is {value!r}; wanted a whole number from 1, or auto") from None


def _score(value: Any) -> float | None:
    if value is None:
        return None
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not -1.0 <= number <= 1.0:
        raise InvalidRequest(f"`min_score` is {value!r}; wanted a number from -1 to 1")
    return number


def _on_unknown(value: Any) -> OnUnknown:
    ways: tuple[OnUnknown, ...] = get_args(OnUnknown)
    for way in ways:
        if value == way:
            return way
    raise InvalidRequest(f"`on_unknown` is {value!r}; wanted one of {', '.join(ways)}")


def answer_json(answer: Answer) -> dict[str, Any]:
    """The answer to a search."""
    return {
        "snapshot_id": answer.snapshot_id,
        "query": _query_json(answer),
        "searched": list(answer.searched),
        "hits": [_hit_json(hit) for hit in answer.hits],
        "timing_ms": _timing_json(answer),
    }


def classified_json(answer: Answer) -> dict[str, Any]:
    """The answer where nothing was searched."""
    return {"snapshot_id": answer.snapshot_id, "query": _query_json(answer), "timing_ms": _timing_json(answer)}


def feedback_json(record: Feedback) -> dict[str, Any]:
    """The answer to feedback that was kept."""
    return {"snapshot_id": record.snapshot_id, "feedback_id": record.feedback_id, "category": record.category}


def item_json(snapshot_id: str, item: Item) -> dict[str, Any]:
    """An item."""
    url = image_url(item.item_id)
    return {
        "snapshot_id": snapshot_id,
        "item_id": item.item_id,
        "category": item.category,
        "image_url": url,
        "image_urls": [url, *(f"{url}?position={position}" for position in range(1, len(item.images)))],
        "metadata": dict(item.metadata),
    }


def example_json(item: Item) -> dict[str, Any]:
    """An item as an example of its category."""
    return {"item_id": item.item_id, "image_url": image_url(item.item_id), "metadata": dict(item.metadata)}


def categories_json(snapshot_id: str, entries: tuple[CategoryEntry, ...]) -> dict[str, Any]:
    """Every category."""
    categories = [{"category": entry.name, "items": entry.items, "images": entry.images} for entry in entries]
    return {"snapshot_id": snapshot_id, "categories": categories}


def ready_json(snapshot_id: str, refusal: Refusal | None) -> dict[str, Any]:
    """What is being served, and why that is not what is published."""
    ready = {"status": "ready", "snapshot_id": snapshot_id}
    if refusal is None:
        return ready
    return {**ready, "refused": {"snapshot_id": refusal.snapshot_id, "reason": refusal.reason}}


def image_url(item_id: str) -> str:
    """Where the service hands out an item's first image."""
    return f"/v1/items/{quote(item_id, safe='')}/image"


def _query_json(answer: Answer) -> dict[str, Any]:
    return {
        **_candidate_json(answer.query),
        "known": answer.verdict.known,
        "known_score": answer.verdict.score,
        "candidates": [_candidate_json(one) for one in answer.candidates],
    }


def _candidate_json(candidate: Candidate) -> dict[str, Any]:
    return {"category": candidate.category, "confidence": round(candidate.confidence, 6)}


def _hit_json(hit: ItemHit) -> dict[str, Any]:
    return {
        "rank": hit.rank,
        "item_id": hit.item.item_id,
        "score": hit.score,
        "category": hit.item.category,
        "image_url": image_url(hit.item.item_id),
        "metadata": dict(hit.item.metadata),
    }


def _timing_json(answer: Answer) -> dict[str, float]:
    return {stage: round(milliseconds, 3) for stage, milliseconds in answer.timing_ms.items()}
