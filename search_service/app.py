"""The Flask application, made from parts that are handed in."""

import re
import time
import uuid

from flask import Flask, Response, current_app, g, request
from werkzeug.routing import BaseConverter

from search_service.api_docs import ApiDocs, api_docs
from search_service.error_handlers import register_error_handlers
from search_service.feedback import FeedbackFile
from search_service.metrics import Metrics
from search_service.pages import pages
from search_service.routes import api
from search_service.settings import ServiceSettings
from search_service.snapshot_watch import SnapshotWatch

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def create_app(
    watch: SnapshotWatch, settings: ServiceSettings, metrics: Metrics, feedback: FeedbackFile | None = None
) -> Flask:
    """Make the application.

    Args:
        watch: gives the engine that answers.
        settings: limits on requests.
        metrics: counts requests, and observes the watch.
        feedback: keeps what clients tell; None for taking none.
    """
    app = Flask("search_service", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = settings.max_body_bytes
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    # An item id may have two slashes in a row; it is one item's name, not a path to tidy.
    app.url_map.merge_slashes = False
    app.url_map.converters["item_id"] = _ItemId
    app.extensions["snapshot_watch"] = watch
    app.extensions["settings"] = settings
    app.extensions["metrics"] = metrics
    app.extensions["feedback"] = feedback
    app.extensions["api_docs"] = ApiDocs(app, settings)
    app.before_request(_name_request)
    app.after_request(_sign_response)
    app.after_request(_count_request)
    app.register_blueprint(api)
    app.register_blueprint(api_docs)
    app.register_blueprint(pages)
    register_error_handlers(app)
    return app


class _ItemId(BaseConverter):
    """Any text: slashes too, also in front, where Werkzeug's `path` takes none."""

    regex = ".+?"
    part_isolating = False
    weight = 200  # as `path`: tried after routes without it


def _name_request() -> None:
    g.started = time.perf_counter()
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex


def _sign_response(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.get("request_id", "")
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _count_request(response: Response) -> Response:
    metrics: Metrics = current_app.extensions["metrics"]
    route = request.url_rule.rule if request.url_rule else None
    metrics.request(route, request.method, response.status_code, time.perf_counter() - g.started)
    return response
