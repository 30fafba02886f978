"""The HTTP status of each error, and the one JSON body for all of them."""

import logging
from collections.abc import Mapping

from flask import Flask, Response, current_app, g, jsonify, request
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from search_service.api.bodies.body_limits import too_large
from search_service.api.responses.errors import error_json
from search_service.observability.metrics import Metrics
from shared.errors import (
    BodyTooLarge,
    BrokenImage,
    ClientGone,
    DamagedSnapshot,
    FeedbackOff,
    FiltersUnavailable,
    FilterTooWide,
    ImageNotFetched,
    ImageNotFound,
    ImagesUnavailable,
    ImageTooCostly,
    ImageTooLarge,
    InvalidEmbedding,
    InvalidRequest,
    KeyRequired,
    NotReady,
    Overloaded,
    ParecidoError,
    RateLimited,
    RetryLater,
    SlowClient,
    StorageError,
    StoreUnavailable,
    TextUnavailable,
    UnknownCategory,
    UnknownItem,
    UnknownQuery,
    UnknownWords,
    UnsupportedBody,
    UnsupportedImage,
    UrlNotAllowed,
)

STATUS: Mapping[type[ParecidoError], int] = {
    InvalidRequest: 400,
    KeyRequired: 401,
    UrlNotAllowed: 403,
    UnknownItem: 404,
    UnknownCategory: 404,
    ImageNotFound: 404,
    FeedbackOff: 404,
    FiltersUnavailable: 409,
    ImagesUnavailable: 409,
    TextUnavailable: 409,
    SlowClient: 408,
    BodyTooLarge: 413,
    ImageTooLarge: 413,
    UnsupportedBody: 415,
    UnsupportedImage: 415,
    BrokenImage: 422,
    ImageTooCostly: 422,
    ImageNotFetched: 422,
    InvalidEmbedding: 422,
    UnknownQuery: 422,
    UnknownWords: 422,
    RateLimited: 429,
    ClientGone: 499,  # nginx's number; for metrics and logs only
    FilterTooWide: 501,
    NotReady: 503,
    DamagedSnapshot: 503,
    Overloaded: 503,
    StoreUnavailable: 503,
    StorageError: 507,
}

_log = logging.getLogger(__name__)


def register_error_handlers(app: Flask) -> None:
    """Respond to every exception with the JSON body; an unexpected one is logged and becomes a 500."""
    app.register_error_handler(ParecidoError, _ours)
    app.register_error_handler(RequestEntityTooLarge, _too_large)
    app.register_error_handler(HTTPException, _werkzeugs)
    app.register_error_handler(Exception, _unexpected)


def status_of(error: ParecidoError) -> int:
    """Return the HTTP status of an error; 500 if it has none."""
    return getattr(error, "status", None) or STATUS.get(type(error), 500)


def error_headers(error: ParecidoError) -> dict[str, str]:
    """Return the further headers of an error response."""
    if isinstance(error, KeyRequired):
        return {"WWW-Authenticate": 'Bearer realm="parecido"'}
    return {"Retry-After": str(error.retry_after_s)} if isinstance(error, RetryLater) else {}


def _ours(error: ParecidoError) -> Response:
    status = status_of(error)
    if status == 500:
        return _unexpected(error)
    response = _body(status, error.code, str(error))
    response.headers.update(error_headers(error))
    return response


def _too_large(error: RequestEntityTooLarge) -> Response:
    limit = request.max_content_length or 0
    return _body(413, ImageTooLarge.code, too_large(request.method, request.path, limit))


def _werkzeugs(error: HTTPException) -> Response:
    response = _body(error.code or 500, error.name.lower().replace(" ", "_"), error.description or error.name)
    for name, value in error.get_headers():
        if name == "Allow":
            response.headers[name] = value
    return response


def _unexpected(error: Exception) -> Response:
    _log.error("request %s failed", g.get("request_id"), exc_info=error)
    return _body(500, "internal", "internal error; the service's log has the details under this request_id")


def _body(status: int, code: str, message: str) -> Response:
    g.error_code = code  # for the log
    metrics: Metrics = current_app.extensions["metrics"]
    metrics.error(code)
    response = jsonify(error_json(code, message, g.get("request_id", "")))
    response.status_code = status
    return response
