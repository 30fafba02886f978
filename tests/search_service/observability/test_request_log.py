"""The line of a request: what it tells, and what it must never tell."""

import base64
import io
import json
import logging
from collections.abc import Iterator

import pytest

from search_service.app import create_app
from search_service.observability.logging_setup import JsonFormatter, request_id
from search_service.observability.metrics import Metrics
from search_service.settings import ServiceSettings
from search_service.snapshots.watcher import SnapshotWatcher
from tests.support.fakes import picture

_IMAGE = picture((20, 20, 250))


class _Lines(logging.Handler):
    """Keeps the lines as they would be written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[str] = []
        self.setFormatter(JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        self.written.append(self.format(record))

    def __call__(self, logger: str = "search_service.observability.request_log") -> list[dict]:
        return [line for line in map(json.loads, self.written) if line["logger"] == logger]


@pytest.fixture
def lines(caplog) -> Iterator[_Lines]:
    """The lines of all requests until now."""
    caplog.set_level(logging.DEBUG, "search_service")
    lines = _Lines()
    logging.getLogger("search_service").addHandler(lines)
    yield lines
    logging.getLogger("search_service").removeHandler(lines)


def test_a_search_tells_what_was_found(client, catalogue, lines) -> None:
    client.post("/v1/search", data={"image": (io.BytesIO(_IMAGE), "q.jpg")}, headers={"X-Request-ID": "mine"})
    [line] = lines()
    assert line.pop("ms") > 0
    assert 0 < line.pop("confidence") <= 1
    assert line.pop("message").startswith("200 POST /v1/search ")
    del line["time"], line["pid"]
    assert line == {
        "level": "info",
        "logger": "search_service.observability.request_log",
        "request_id": "mine",
        "method": "POST",
        "route": "/v1/search",
        "path": "/v1/search",
        "status": 200,
        "client": "127.0.0.1",
        "snapshot_id": catalogue.snapshot.snapshot_id,
        "category": catalogue.mugs,
        "searched": 1,
        "hits": 5,
    }


def test_nothing_of_a_query_or_a_key_is_told(client, lines, caplog) -> None:
    encoded = base64.b64encode(_IMAGE).decode()
    secret = {"Authorization": "Bearer hush-hush", "X-API-Key": "hush-hush", "Cookie": "hush-hush"}
    client.post("/v1/search", json={"image_base64": encoded}, headers=secret)
    client.post("/v1/search?key=hush-hush", json={"embedding": [0.123456] * 5}, headers=secret)
    client.get("/v1/categories?hush-hush", headers=secret)
    written = str(lines.written) + caplog.text
    assert len(lines()) == 3
    for secret_text in (encoded[:40], encoded[-40:], "0.123456", "hush"):
        assert secret_text not in written


def test_an_error_is_named_and_a_path_is_cut(client, lines) -> None:
    client.get("/" + "x" * 5000)
    client.post("/v1/search", json={})
    first, second = lines()
    assert (first["status"], first["error"], first["path"]) == (404, "not_found", "/" + "x" * 199)
    assert "route" not in first
    assert (second["status"], second["error"], second["level"]) == (400, "invalid_request", "info")


def test_a_batch_tells_how_many_were_searched(client, lines) -> None:
    client.post("/v1/search/batch", json={"queries": [{"item_id": "mug-1"}, {"item_id": "no"}, {"item_id": "what?"}]})
    [line] = lines()
    assert line["queries"] == 2
    assert "category" not in line


def test_the_name_of_a_key_is_told_where_there_is_one(engine, watch_on, lines) -> None:
    from flask import g

    app = create_app(watch_on(engine), ServiceSettings(), Metrics(0.98))
    app.before_request(lambda: setattr(g, "api_key_name", "shop"))
    app.test_client().get("/v1/categories")
    assert lines()[0]["api_key"] == "shop"


def test_levels(lines) -> None:
    def never() -> None:
        raise OSError("nothing there")

    app = create_app(SnapshotWatcher(never, never), ServiceSettings(), Metrics(0.98))

    @app.get("/fail")
    def fail() -> None:
        raise KeyError

    for path in ("/healthz", "/readyz", "/metrics", "/v1/categories", "/fail", "/nowhere"):
        app.test_client().get(path)
    assert [line["level"] for line in lines()] == ["debug", "debug", "debug", "warning", "warning", "info"]


def test_an_unexpected_error_is_logged_with_its_traceback_and_the_requests_id(engine, watch_on, lines) -> None:
    app = create_app(watch_on(engine), ServiceSettings(), Metrics(0.98))

    @app.get("/fail")
    def fail() -> None:
        raise KeyError("inside")

    app.test_client().get("/fail", headers={"X-Request-ID": "this-one"})
    [line] = lines("search_service.api.error_handlers")
    assert line["request_id"] == "this-one"
    assert line["traceback"].endswith("KeyError: 'inside'")
    assert request_id.get() is None
