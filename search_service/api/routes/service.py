"""Routes of the service itself: probes and metrics."""

from flask import Blueprint, Response, current_app, jsonify

from search_service.api.access_control import is_operator
from search_service.api.app_state import current_engine, current_metrics, current_watcher
from search_service.api.operations import Operation, describe
from search_service.api.responses.health import HealthJson, ReadyJson, ready_json
from search_service.observability.metrics import CONTENT_TYPE
from shared.errors import NotReady

service_routes = Blueprint("service", __name__)


@service_routes.get("/healthz")
@describe(Operation("Service", HealthJson, is_open=True))
def healthz() -> Response:
    """Report that the process is up."""
    return jsonify({"status": "ok"})


@service_routes.get("/readyz")
@describe(Operation("Service", ReadyJson, (503,), is_open=True))
def readyz() -> Response:
    """Report whether a snapshot is served and can be searched, and whether the published one was rejected."""
    if current_app.extensions["is_stopping"]():
        raise NotReady("the service is shutting down: it only finishes the requests that it has received")
    with current_engine() as engine:
        engine.require_ready()
        watcher = current_watcher()
        return jsonify(ready_json(engine.snapshot_id, watcher.rejection, watcher.stuck_for_s, is_operator()))


@service_routes.get("/metrics")
@describe(Operation("Service", media_types=("text/plain",)))
def metrics() -> Response:
    """Report metrics to Prometheus, even while no snapshot is served."""
    return Response(current_metrics().text(), content_type=CONTENT_TYPE)
