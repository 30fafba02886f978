"""The Flask application factory. All dependencies are passed in; nothing is read from the environment."""

import re
import time
import uuid
from urllib.parse import unquote

from flask import Flask, Response, current_app, g, request
from werkzeug.routing import BaseConverter

from search_service.access.api_keys import ApiKeys
from search_service.access.forwarded import TrustedProxies
from search_service.access.image_fetcher import ImageFetcher, fetch_admission
from search_service.access.rate_limit import RateLimit
from search_service.admission.controller import AdmissionController
from search_service.admission.request_context import RequestContext, set_context
from search_service.api.access_control import client_name, register_access_control
from search_service.api.bodies.body_limits import max_body_bytes
from search_service.api.error_handlers import register_error_handlers
from search_service.api.item_paths import ItemPaths
from search_service.api.routes.catalogue import catalogue_routes
from search_service.api.routes.search import search_routes
from search_service.api.routes.service import service_routes
from search_service.api.security_headers import register_security_headers
from search_service.api.web_pages import pages
from search_service.engine.feedback_log import FeedbackLog
from search_service.observability.logging_setup import request_id
from search_service.observability.metrics import Metrics
from search_service.observability.request_log import log_request
from search_service.openapi.docs_page import ApiDocs, api_docs
from search_service.settings import ServiceSettings
from search_service.snapshots.watcher import SnapshotWatcher

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def create_app(
    watch: SnapshotWatcher,
    settings: ServiceSettings,
    metrics: Metrics,
    feedback: FeedbackLog | None = None,
    keys: ApiKeys | None = None,
    rate_limit: RateLimit | None = None,
    admission: AdmissionController | None = None,
) -> Flask:
    """Create the application.

    Args:
        watch: provides the engine of the current snapshot.
        settings: limits on requests.
        metrics: counts requests and errors.
        feedback: stores user feedback; None rejects feedback.
        keys: accepted API keys; None requires no key.
        rate_limit: limit per client; None for no limit.
        admission: the engines' admission controller; None admits every request.
    """
    app = Flask("search_service", static_folder=None)
    app.json.sort_keys = False  # type: ignore[attr-defined]
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    app.url_map.merge_slashes = False  # item ids in a path may have double slashes
    app.url_map.converters["item_id"] = _ItemId
    app.extensions["snapshot_watcher"] = watch
    app.extensions["settings"] = settings
    app.extensions["metrics"] = metrics
    app.extensions["feedback"] = feedback
    app.extensions["is_stopping"] = lambda: False  # replaced by the server
    app.extensions["api_docs"] = ApiDocs(app, settings)
    app.extensions["admission"] = admission
    app.extensions["image_fetcher"] = ImageFetcher(
        settings.image_url_hosts or (), settings.max_upload_bytes, admission=fetch_admission(metrics.of_fetches)
    )
    item_paths = ItemPaths(app.wsgi_app)
    app.wsgi_app = TrustedProxies(item_paths, settings.trusted_proxies, settings.prefix or "")  # type: ignore[method-assign]
    app.before_request(_start_request)
    app.before_request(_limit_body)
    register_access_control(app, keys, rate_limit)
    app.before_request(_set_request_context)
    app.before_request(_reject_if_full)
    app.teardown_request(_clear_request_context)
    register_security_headers(app, settings.cors_origins or (), settings.cors_headers or ())
    app.after_request(_add_request_id)
    app.after_request(_log_and_count)
    app.teardown_request(_clear_request_id)
    for routes in (search_routes, catalogue_routes, service_routes, api_docs, pages):
        app.register_blueprint(routes)
    register_error_handlers(app)
    return app


class _ItemId(BaseConverter):
    """An item id: any text, which `ItemPaths` has made one percent-encoded path segment."""

    def to_python(self, value: str) -> str:
        return unquote(value)


def _start_request() -> None:
    g.started = time.perf_counter()
    given = request.headers.get("X-Request-ID", "")
    g.request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
    request_id.set(g.request_id)


def _limit_body() -> None:
    settings: ServiceSettings = current_app.extensions["settings"]
    content_type = request.headers.get("Content-Type", "")
    request.max_content_length = max_body_bytes(request.method, request.path, content_type, settings)


def _set_request_context() -> None:
    given = request.environ.get("parecido.request_context")
    context = given if isinstance(given, RequestContext) else RequestContext()
    context.client = client_name()
    set_context(context)


def _reject_if_full() -> None:
    """Reject an uploaded image before its form is read while the queue is full; other queries need no decoder."""
    admission: AdmissionController | None = current_app.extensions["admission"]
    if admission is not None and request.mimetype == "multipart/form-data":
        admission.reject_if_full()


def _clear_request_context(_error: BaseException | None) -> None:
    set_context(None)


def _add_request_id(response: Response) -> Response:
    response.headers["X-Request-ID"] = g.get("request_id", "")
    return response


def _log_and_count(response: Response) -> Response:
    log_request(response)
    metrics: Metrics = current_app.extensions["metrics"]
    route = request.url_rule.rule if request.url_rule else None
    metrics.request(route, request.method, response.status_code, time.perf_counter() - g.started)
    return response


def _clear_request_id(_error: BaseException | None) -> None:
    request_id.set(None)
