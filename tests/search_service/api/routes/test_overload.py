"""What the API answers while every core is taken and the queue is full: nothing here runs in parallel."""

import base64
import io
from contextlib import ExitStack

import pytest
from flask.testing import FlaskClient

from search_service.admission.controller import AdmissionController
from search_service.admission.request_context import current_context
from search_service.app import create_app
from search_service.engine.engine import Engine
from search_service.observability.metrics import Metrics
from search_service.settings import ServiceSettings
from tests.support.fakes import picture

_GREEN = picture((20, 250, 21))
_JSON = {"image_base64": base64.b64encode(_GREEN).decode()}


@pytest.fixture
def busy(catalogue, watch_on) -> tuple[FlaskClient, ExitStack]:
    """A client of a service without a queue, whose one core is taken until the stack is closed."""
    metrics = Metrics(0.98)
    admission = AdmissionController(1, queue=0, observer=metrics)
    engine = Engine(catalogue.snapshot, admission=admission)
    app = create_app(watch_on(engine), ServiceSettings(), metrics, admission=admission)
    taken = ExitStack()
    taken.enter_context(admission.slot())
    with taken:
        yield app.test_client(), taken


def _form() -> dict:
    return {"data": {"image": (io.BytesIO(_GREEN), "green.jpg")}}


@pytest.mark.parametrize("path", ["/v1/search", "/v1/classify", "/v1/search/batch"])
def test_an_image_is_refused_and_served_when_there_is_room_again(busy, assert_error, path) -> None:
    client, taken = busy
    many = path.endswith("batch")
    for asked in (_form, lambda: {"json": {"queries": [_JSON]} if many else _JSON}):
        response = client.post(path, **asked())
        assert "busy" in assert_error(response, 503, "overloaded")
        assert response.headers["Retry-After"] == "1"
    taken.close()
    for asked in (_form, lambda: {"json": {"queries": [_JSON]} if many else _JSON}):
        response = client.post(path, **asked())
        assert response.status_code == 200
        assert "error" not in response.text


def test_a_form_is_not_read_before_it_is_refused(busy, assert_error) -> None:
    client, _ = busy
    response = client.post("/v1/search", data=b"no form at all", content_type="multipart/form-data; boundary=x")
    assert_error(response, 503, "overloaded")


def test_what_needs_no_core_is_answered(busy, catalogue) -> None:
    client, _ = busy
    embedding = catalogue.rows[catalogue.hats][0][1].tolist()
    for path in ("/healthz", "/readyz", "/metrics", "/v1/categories", "/v1/items/mug-1", "/v1/items/mug-1/similar"):
        assert client.get(path).status_code == 200
    for query in ({"item_id": "mug-1"}, {"embedding": embedding}):
        assert client.post("/v1/search", json=query).status_code == 200
        assert client.post("/v1/search/batch", json={"queries": [query]}).json["results"][0]["hits"]


def test_refusals_are_counted(busy) -> None:
    client, taken = busy
    client.post("/v1/search", **_form())
    client.post("/v1/search", json=_JSON)
    taken.close()
    client.post("/v1/search", json=_JSON)
    told = client.get("/metrics").text.splitlines()
    assert 'parecido_refused_queries_total{reason="queue_full"} 2.0' in told
    assert 'parecido_refused_queries_total{reason="deadline"} 0.0' in told
    assert "parecido_wait_seconds_count 2.0" in told
    assert "parecido_waiting_queries 0.0" in told


def test_the_caller_is_forgotten_with_the_request(busy) -> None:
    client, _ = busy
    client.get("/healthz")
    assert current_context() is None
