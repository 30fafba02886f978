"""The HTTP API. Each route reads the request, asks one engine for all of it, and answers JSON."""

from contextlib import AbstractContextManager
from typing import Any

from flask import Blueprint, Response, current_app, jsonify, request, send_file

from search_service.answer import Answer
from search_service.engine import Engine, SearchOptions
from search_service.feedback import FeedbackFile
from search_service.metrics import CONTENT_TYPE, Metrics
from search_service.schemas import (
    FEEDBACK_FIELDS,
    OPTION_FIELDS,
    answer_json,
    categories_json,
    classified_json,
    example_json,
    feedback_json,
    item_json,
    read_examples,
    read_options,
    read_query,
    read_told,
    ready_json,
)
from search_service.settings import ServiceSettings
from search_service.snapshot_watch import SnapshotWatch
from search_service.status import status_json
from search_service.verdict import require_known
from shared.errors import FeedbackOff, InvalidRequest

api = Blueprint("api", __name__)

_IMAGE_MAX_AGE_S = 3600


@api.post("/v1/search")
def search() -> Response:
    """Search by an image, an item or an embedding."""
    query, given = read_query(request)
    options = read_options(given, _settings().max_top_k)
    with _engine() as engine:
        if query.image is not None:
            answer = engine.search_image(query.image, options)
        elif query.item_id is not None:
            answer = engine.search_item(query.item_id, options)
        else:
            answer = engine.search_embedding(query.embedding or [], options)
    return _searched(answer, options, is_classified=query.item_id is None)


@api.post("/v1/classify")
def classify() -> Response:
    """Say which category an image or an embedding shows."""
    query, _ = read_query(request, option_fields=())
    if query.item_id is not None:
        raise InvalidRequest("an item's category is known: GET /v1/items/<id>; wanted an image or an embedding")
    with _engine() as engine:
        if query.image is not None:
            answer = engine.classify_image(query.image)
        else:
            answer = engine.classify_embedding(query.embedding or [])
    _metrics().query(answer, is_classified=True)
    return jsonify(classified_json(answer))


@api.post("/v1/feedback")
def feedback() -> tuple[Response, int]:
    """Keep what a query really showed, to learn from."""
    file = _feedback_file()
    query, given = read_query(request, FEEDBACK_FIELDS)
    told = read_told(given)
    with _engine() as engine:
        if query.image is not None:
            record = engine.feedback_on_image(query.image, told)
        elif query.item_id is not None:
            record = engine.feedback_on_item(query.item_id, told)
        else:
            record = engine.feedback_on_embedding(query.embedding or [], told)
    file.append(record)
    _metrics().feedback(record)
    return jsonify(feedback_json(record)), 201


@api.get("/v1/items/<item_id:item_id>")
def item(item_id: str) -> Response:
    """Tell what the catalogue says of an item."""
    with _engine() as engine:
        return jsonify(item_json(engine.snapshot_id, engine.item(item_id)))


@api.get("/v1/items/<item_id:item_id>/similar")
def similar(item_id: str) -> Response:
    """Search for items like this one, itself left out."""
    options = read_options(_arguments(*OPTION_FIELDS), _settings().max_top_k)
    with _engine() as engine:
        answer = engine.similar(item_id, options)
    return _searched(answer, options, is_classified=False)


@api.get("/v1/items/<item_id:item_id>/image")
def image(item_id: str) -> Response:
    """Hand out an item's image as it is in the catalogue."""
    position = _arguments("position").get("position", "0")
    if not (position.isascii() and position.isdigit() and len(position) < 10):
        raise InvalidRequest(f"`position` is {position!r}; wanted a whole number from 0")
    with _engine() as engine:
        path = engine.image_path(item_id, int(position))
    return send_file(path, conditional=True, max_age=_IMAGE_MAX_AGE_S)


@api.get("/v1/categories")
def categories() -> Response:
    """List the categories, each with a few of its items where `examples` says how many."""
    count = read_examples(_arguments("examples").get("examples", "0"))
    with _engine() as engine:
        listed = categories_json(engine.snapshot_id, engine.categories())
        if count:
            for one in listed["categories"]:
                one["examples"] = [example_json(item) for item in engine.examples(one["category"], count)]
        return jsonify(listed)


@api.get("/v1/status")
def status() -> Response:
    """Tell what is served, and how good it was when it was built."""
    with _engine() as engine:
        return jsonify(status_json(engine.manifest))


@api.get("/healthz")
def healthz() -> Response:
    """Say that the process is up."""
    return jsonify({"status": "ok"})


@api.get("/readyz")
def readyz() -> Response:
    """Say whether a snapshot is being served, and whether the published one was refused."""
    with _engine() as engine:
        return jsonify(ready_json(engine.snapshot_id, _watch().refusal))


@api.get("/metrics")
def metrics() -> Response:
    """Tell Prometheus, also where nothing is served."""
    return Response(_metrics().text(), content_type=CONTENT_TYPE)


def _searched(answer: Answer, options: SearchOptions, is_classified: bool) -> Response:
    """Count a search, also one that is refused for what it shows, and answer it."""
    _metrics().query(answer, is_classified)
    require_known(answer.verdict, answer.query.category, options.on_unknown)
    return jsonify(answer_json(answer))


def _engine() -> AbstractContextManager[Engine]:
    return _watch().engine()


def _watch() -> SnapshotWatch:
    watch: SnapshotWatch = current_app.extensions["snapshot_watch"]
    return watch


def _metrics() -> Metrics:
    metrics: Metrics = current_app.extensions["metrics"]
    return metrics


def _feedback_file() -> FeedbackFile:
    file: FeedbackFile | None = current_app.extensions["feedback"]
    if file is None:
        raise FeedbackOff("this service takes no feedback: PARECIDO_FEEDBACK names no file to keep it in")
    return file


def _settings() -> ServiceSettings:
    settings: ServiceSettings = current_app.extensions["settings"]
    return settings


def _arguments(*known: str) -> dict[str, Any]:
    for name in request.args:
        if name not in known:
            raise InvalidRequest(f"there is no argument {name!r}; there are {', '.join(known)}")
        if len(request.args.getlist(name)) > 1:
            raise InvalidRequest(f"`{name}` was given more than once")
    return request.args.to_dict()
