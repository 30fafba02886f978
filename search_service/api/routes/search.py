"""Routes of search, classification and feedback."""

from flask import Blueprint, Response, g, jsonify, request

from search_service.api.access_control import charge_batch
from search_service.api.app_state import current_engine, current_feedback_log, current_metrics, current_settings
from search_service.api.operations import Operation, describe
from search_service.api.requests import (
    Search,
    read_arguments,
    read_batch,
    read_body,
    read_search,
    user_feedback,
)
from search_service.api.responses.errors import ErrorJson, error_json
from search_service.api.responses.feedback import FeedbackJson, feedback_json
from search_service.api.responses.search import (
    BatchJson,
    ClassifiedJson,
    SearchedJson,
    batch_json,
    classified_json,
    searched_json,
)
from search_service.api.schemas import (
    BatchBody,
    ClassifyBody,
    FeedbackBody,
    FeedbackFields,
    NoFields,
    Options,
    SearchBody,
)
from search_service.engine.query import Query
from search_service.observability.request_log import note_result
from shared.errors import ParecidoError
from shared.retrieval.ood_verdict import require_in_distribution
from shared.retrieval.results import SearchResult

search_routes = Blueprint("search", __name__)

_QUERY_ERRORS = (400, 404, 413, 415, 422, 503)
_SEARCH_ERRORS = (*_QUERY_ERRORS, 409, 501)
_BY_ITEM = ("By an item", {"item_id": "watch-0001", "top_k": 3})
_BY_TEXT = ("By a text", {"text": "blue diving watch"})
_TWO_ITEMS = ("Two items", {"queries": [{"item_id": "watch-0001"}, {"item_id": "watch-0002"}], "top_k": 3})


@search_routes.post("/v1/search")
@describe(
    Operation("Search", SearchedJson, _SEARCH_ERRORS, body=SearchBody, form=Options, examples=(_BY_ITEM, _BY_TEXT))
)
def search() -> Response:
    """Search by an image, an item, an embedding or a text, or by one of these and a text."""
    requested = read_search(request, current_settings())
    with current_engine() as engine:
        result = engine.search(requested.query, requested.options)
    return jsonify(_searched(result, requested.options, _is_classified(requested.query)))


@search_routes.post("/v1/search/batch")
@describe(
    Operation(
        "Search",
        BatchJson,
        (400, 413, 415, 503),
        body=BatchBody,
        form=Options,
        several_images=True,
        examples=(_TWO_ITEMS,),
    )
)
def search_batch() -> Response:
    """Search by several images, items, embeddings or texts; an invalid one fails alone."""
    requested = read_batch(request, current_settings())
    charge_batch(len(requested) - 1)
    searches = [(search.query, search.options) for search in requested if isinstance(search, Search)]
    with current_engine() as engine:
        snapshot_id = engine.snapshot_id
        results = iter(engine.search_batch(searches))
    entries = [_batch_entry(one, next(results)) if isinstance(one, Search) else _error(one) for one in requested]
    return jsonify(batch_json(snapshot_id, entries))


@search_routes.post("/v1/classify")
@describe(Operation("Search", ClassifiedJson, _QUERY_ERRORS, body=ClassifyBody, form=NoFields))
def classify() -> Response:
    """Predict the category of an image, an embedding or a text."""
    query, _ = read_body(request, NoFields, ClassifyBody, current_settings())
    with current_engine() as engine:
        result = engine.classify(query)
    _count(result, _is_classified(query))
    return jsonify(classified_json(result))


@search_routes.post("/v1/feedback")
@describe(Operation("Search", FeedbackJson, (*_QUERY_ERRORS, 507), status=201, body=FeedbackBody, form=FeedbackFields))
def feedback() -> tuple[Response, int]:
    """Keep the right category of a query, or the item that a user clicked, for training."""
    log = current_feedback_log()
    query, fields = read_body(request, FeedbackFields, FeedbackBody, current_settings())
    given = user_feedback(fields)
    with current_engine() as engine:
        record = engine.feedback(query, given)
    log.append(record)
    current_metrics().feedback(record)
    return jsonify(feedback_json(record)), 201


@search_routes.get("/v1/items/<item_id:item_id>/similar")
@describe(Operation("Catalogue", SearchedJson, (400, 404, 409, 422, 501, 503), arguments=Options))
def similar(item_id: str) -> Response:
    """Search for items similar to this one, without itself."""
    options = read_arguments(request, Options, current_settings())
    with current_engine() as engine:
        result = engine.similar(item_id, options, options.text, options.text_weight)
    return jsonify(_searched(result, options, is_classified=False))


def _searched(result: SearchResult, options: Options, is_classified: bool) -> SearchedJson:
    """Count a search, even if it is rejected as out of distribution, and return its response."""
    _count(result, is_classified)
    require_in_distribution(result.ood_verdict, result.predicted.category, options.on_unknown)
    return searched_json(result, options, request.root_path)


def _is_classified(query: Query) -> bool:
    """Return True if the category is predicted from an image or an embedding."""
    return query.item_id is None and not query.is_text_alone


def _batch_entry(search: Search, result: SearchResult | ParecidoError) -> SearchedJson | ErrorJson:
    if isinstance(result, ParecidoError):
        return _error(result)
    try:
        return _searched(result, search.options, _is_classified(search.query))
    except ParecidoError as error:
        return _error(error)


def _error(error: ParecidoError) -> ErrorJson:
    current_metrics().error(error.code)
    return error_json(error.code, str(error), g.request_id)


def _count(result: SearchResult, is_classified: bool) -> None:
    note_result(result)
    current_metrics().query(result, is_classified)
