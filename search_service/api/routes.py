"""The HTTP API. Each route reads the request, asks one engine for all of it, and answers JSON."""

from collections.abc import Iterator
from contextlib import contextmanager

from flask import Blueprint, Response, current_app, g, jsonify, request, send_file

from search_service.api.access_control import charge_batch, is_operator
from search_service.api.operations import Operation, describe
from search_service.api.requests import (
    Search,
    read_arguments,
    read_batch,
    read_body,
    read_search,
    search_options,
    user_feedback,
)
from search_service.api.responses.catalogue import CategoriesJson, ItemJson, categories_json, item_json
from search_service.api.responses.search import (
    BatchJson,
    ClassifiedJson,
    ErrorJson,
    FeedbackJson,
    HealthJson,
    ReadyJson,
    SearchedJson,
    batch_json,
    classified_json,
    error_json,
    feedback_json,
    ready_json,
    searched_json,
)
from search_service.api.responses.status import StatusJson, status_json
from search_service.api.schemas import (
    BatchBody,
    CategoriesArguments,
    ClassifyBody,
    FeedbackBody,
    FeedbackFields,
    ImageArguments,
    MetadataFields,
    NoFields,
    Options,
    SearchBody,
)
from search_service.engine.engine import Engine
from search_service.engine.feedback_log import FeedbackLog
from search_service.observability.metrics import CONTENT_TYPE, Metrics
from search_service.observability.request_log import note_answer, note_snapshot
from search_service.settings import ServiceSettings
from search_service.snapshots.watcher import SnapshotWatcher
from shared.errors import FeedbackOff, NotReady, ParecidoError
from shared.images.formats import MEDIA_TYPES
from shared.retrieval.ood_verdict import require_in_distribution
from shared.retrieval.results import SearchResult

api = Blueprint("api", __name__)

_IMAGE_MAX_AGE_S = 3600
_OF_A_QUERY = (400, 404, 413, 415, 422, 503)
_OF_A_SEARCH = (*_OF_A_QUERY, 409, 501)
_IMAGE_TYPES = ("image/*", "application/octet-stream")
_BY_ITEM = ("By an item", {"item_id": "watch-0001", "top_k": 3})


@api.post("/v1/search")
@describe(
    Operation(
        "Search",
        SearchedJson,
        _OF_A_SEARCH,
        body=SearchBody,
        form=Options,
        examples=(_BY_ITEM,),
    )
)
def search() -> Response:
    """Search by an image, an item or an embedding."""
    asked = read_search(request, _settings())
    with _engine() as engine:
        answer = engine.search(asked.query, asked.options)
    return jsonify(_searched(answer, asked.given, is_classified=asked.query.item_id is None))


@api.post("/v1/search/batch")
@describe(
    Operation(
        "Search",
        BatchJson,
        (400, 413, 415, 503),
        body=BatchBody,
        form=Options,
        several_images=True,
        examples=(("Two items", {"queries": [{"item_id": "watch-0001"}, {"item_id": "watch-0002"}], "top_k": 3}),),
    )
)
def search_batch() -> Response:
    """Search by several images, items or embeddings; a bad one fails alone."""
    asked = read_batch(request, _settings())
    charge_batch(len(asked) - 1)
    with _engine() as engine:
        snapshot_id = engine.snapshot_id
        answers = iter(engine.search_batch([(one.query, one.options) for one in asked if isinstance(one, Search)]))
    results = [_one_result(one, next(answers)) if isinstance(one, Search) else _failed(one) for one in asked]
    return jsonify(batch_json(snapshot_id, results))


@api.post("/v1/classify")
@describe(Operation("Search", ClassifiedJson, _OF_A_QUERY, body=ClassifyBody, form=NoFields))
def classify() -> Response:
    """Say which category an image or an embedding shows."""
    query, _ = read_body(request, NoFields, ClassifyBody, _settings())
    with _engine() as engine:
        answer = engine.classify(query)
    _count(answer, is_classified=True)
    return jsonify(classified_json(answer))


@api.post("/v1/feedback")
@describe(Operation("Search", FeedbackJson, (*_OF_A_QUERY, 507), status=201, body=FeedbackBody, form=FeedbackFields))
def feedback() -> tuple[Response, int]:
    """Keep what a query really showed, to learn from."""
    file = _feedback_file()
    query, fields = read_body(request, FeedbackFields, FeedbackBody, _settings())
    given = user_feedback(fields)
    with _engine() as engine:
        record = engine.feedback(query, given)
    file.append(record)
    _metrics().feedback(record)
    return jsonify(feedback_json(record)), 201


@api.get("/v1/items/<item_id:item_id>")
@describe(Operation("Catalogue", ItemJson, (400, 404, 503), arguments=MetadataFields))
def item(item_id: str) -> Response:
    """Tell what the catalogue says of an item."""
    arguments = read_arguments(request, MetadataFields, _settings())
    with _engine() as engine:
        return jsonify(
            item_json(engine.snapshot_id, engine.catalogue.item(item_id), arguments.fields, request.root_path)
        )


@api.get("/v1/items/<item_id:item_id>/similar")
@describe(Operation("Catalogue", SearchedJson, (400, 404, 409, 501, 503), arguments=Options))
def similar(item_id: str) -> Response:
    """Search for items like this one, itself left out."""
    options = read_arguments(request, Options, _settings())
    with _engine() as engine:
        answer = engine.similar(item_id, search_options(options))
    return jsonify(_searched(answer, options, is_classified=False))


@api.get("/v1/items/<item_id:item_id>/image")
@describe(
    Operation(
        "Catalogue",
        errors=(400, 404, 416, 503),
        arguments=ImageArguments,
        media_types=_IMAGE_TYPES,
        others=((206, "Partial Content"), (304, "Not Modified")),
        headers=(
            ("ETag", "Of the file: changes with its size or time."),
            ("Cache-Control", "How long it may be kept."),
        ),
    )
)
def image(item_id: str) -> Response:
    """Hand out an item's image as it is in the catalogue."""
    position = read_arguments(request, ImageArguments, _settings()).position
    with _engine() as engine:
        path = engine.catalogue.image_path(item_id, position)
    # Only what is indexed has a type of its own: whatever a file is called, no browser runs it.
    media_type = MEDIA_TYPES.get(path.suffix.lower(), "application/octet-stream")
    return send_file(path, mimetype=media_type, conditional=True, max_age=_IMAGE_MAX_AGE_S)


@api.get("/v1/categories")
@describe(Operation("Catalogue", CategoriesJson, (400, 503), arguments=CategoriesArguments))
def categories() -> Response:
    """List the categories."""
    count = read_arguments(request, CategoriesArguments, _settings()).examples
    with _engine() as engine:
        entries = engine.manifest.categories
        examples = engine.catalogue.examples_of([entry.name for entry in entries if count], count)
        return jsonify(categories_json(engine.snapshot_id, entries, examples, request.root_path))


@api.get("/v1/status")
@describe(Operation("Catalogue", StatusJson, (400, 503)))
def status() -> Response:
    """Tell what is served, and how good it was found to be when it was built."""
    read_arguments(request, NoFields, _settings())
    with _engine() as engine:
        return jsonify(status_json(engine.manifest))


@api.get("/healthz")
@describe(Operation("Service", HealthJson, is_open=True))
def healthz() -> Response:
    """Say that the process is up."""
    return jsonify({"status": "ok"})


@api.get("/readyz")
@describe(Operation("Service", ReadyJson, (503,), is_open=True))
def readyz() -> Response:
    """Say whether a snapshot is being served, can be searched now, and whether the published one was refused."""
    if current_app.extensions["is_stopping"]():
        raise NotReady("the service is being stopped: it answers what has reached it, and nothing else")
    with _engine() as engine:
        engine.require_ready()
        watch = _watch()
        return jsonify(ready_json(engine.snapshot_id, watch.rejection, watch.stuck_for_s, is_operator()))


@api.get("/metrics")
@describe(Operation("Service", media_types=("text/plain",)))
def metrics() -> Response:
    """Tell Prometheus, also where nothing is served."""
    return Response(_metrics().text(), content_type=CONTENT_TYPE)


def _searched(answer: SearchResult, options: Options, is_classified: bool) -> SearchedJson:
    """Count a search, also one that is refused for what it shows, and write its answer."""
    _count(answer, is_classified)
    require_in_distribution(answer.ood_verdict, answer.predicted.category, options.on_unknown)
    return searched_json(answer, options, request.root_path)


def _one_result(asked: Search, answer: SearchResult | ParecidoError) -> SearchedJson | ErrorJson:
    if isinstance(answer, ParecidoError):
        return _failed(answer)
    try:
        return _searched(answer, asked.given, is_classified=asked.query.item_id is None)
    except ParecidoError as error:
        return _failed(error)


def _failed(error: ParecidoError) -> ErrorJson:
    _metrics().error(error.code)
    return error_json(error.code, str(error), g.request_id)


def _count(answer: SearchResult, is_classified: bool) -> None:
    note_answer(answer)
    _metrics().query(answer, is_classified)


@contextmanager
def _engine() -> Iterator[Engine]:
    if not _watch().is_serving:
        raise _watch().not_serving_error(is_operator())
    with _watch().engine() as engine:
        note_snapshot(engine.snapshot_id)
        yield engine


def _watch() -> SnapshotWatcher:
    watch: SnapshotWatcher = current_app.extensions["snapshot_watch"]
    return watch


def _metrics() -> Metrics:
    metrics: Metrics = current_app.extensions["metrics"]
    return metrics


def _feedback_file() -> FeedbackLog:
    file: FeedbackLog | None = current_app.extensions["feedback"]
    if file is None:
        raise FeedbackOff("this service takes no feedback: PARECIDO_FEEDBACK names no file to keep it in")
    return file


def _settings() -> ServiceSettings:
    settings: ServiceSettings = current_app.extensions["settings"]
    return settings
