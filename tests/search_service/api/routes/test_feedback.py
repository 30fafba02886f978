"""`POST /v1/feedback`, asked rightly and wrongly: what is kept, what is answered, and what is not harmed."""

import base64
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import TestResponse

from search_service.app import create_app
from search_service.engine import feedback_log as module
from search_service.engine.engine import Engine
from search_service.engine.feedback_log import FeedbackLog
from search_service.observability.metrics import Metrics
from search_service.settings import ServiceSettings
from shared.feedback_record import FeedbackRecord
from tests.support.fakes import picture

_GREEN = picture((21, 249, 22), file_format="PNG")
_BASE64 = base64.b64encode(_GREEN).decode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "feedback.jsonl"


@pytest.fixture
def client(catalogue, watch_on, path) -> FlaskClient:
    settings = ServiceSettings(max_upload_bytes=100_000, feedback=path)
    engine = Engine(catalogue.snapshot, settings.image_limits)
    return create_app(watch_on(engine), settings, Metrics(0.98), FeedbackLog(path)).test_client()


def _post(client: FlaskClient, **body: Any) -> TestResponse:
    return client.post("/v1/feedback", data=json.dumps(body), content_type="application/json")


def _form(client: FlaskClient, image: bytes, **fields: Any) -> TestResponse:
    return client.post("/v1/feedback", data={"image": (io.BytesIO(image), "query.png"), **fields})


def _kept(path: Path) -> list[FeedbackRecord]:
    return [FeedbackRecord.from_line(line) for line in path.read_bytes().splitlines()]


def _counted(client: FlaskClient) -> dict[tuple[str, str], float]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    [family] = [one for one in families if one.name == "parecido_feedback"]
    return {(one.labels["kind"], one.labels["prediction"]): one.value for one in family.samples}


@pytest.mark.parametrize("how", ["multipart", "base64"])
def test_feedback_on_an_image_is_kept_without_the_image(catalogue, client, path, how) -> None:
    told = {"category": catalogue.shoes}
    response = _form(client, _GREEN, **told) if how == "multipart" else _post(client, image_base64=_BASE64, **told)
    assert response.status_code == 201
    [record] = _kept(path)
    assert response.json == {
        "snapshot_id": catalogue.snapshot.snapshot_id,
        "feedback_id": record.feedback_id,
        "category": catalogue.shoes,
    }
    assert (record.category, record.predicted_category) == (catalogue.shoes, catalogue.hats)
    assert record.image_sha256 == hashlib.sha256(_GREEN).hexdigest()
    answer = client.post("/v1/classify", json={"image_base64": _BASE64}).json["query"]
    assert record.confidence == answer["confidence"]
    found = client.post("/v1/classify", json={"embedding": record.embedding.tolist()}).json["query"]
    assert found == answer
    assert _GREEN not in path.read_bytes()
    assert _BASE64.encode() not in path.read_bytes()


def test_feedback_on_an_embedding(catalogue, client, path) -> None:
    embedding = catalogue.rows[catalogue.mugs][0][1]
    response = _post(client, embedding=(embedding * 3).tolist(), clicked_item_id="👟")
    assert (response.status_code, response.json["category"]) == (201, catalogue.shoes)
    [record] = _kept(path)
    np.testing.assert_allclose(record.embedding, embedding, atol=1e-6)
    assert (record.image_sha256, record.query_item_id, record.clicked_item_id) == (None, None, "👟")
    assert (record.category, record.predicted_category) == (catalogue.shoes, catalogue.mugs)


def test_feedback_on_an_item(catalogue, client, path) -> None:
    response = _post(client, item_id="👟", category=catalogue.shoes, clicked_item_id="niño-é")
    assert (response.status_code, response.json["category"]) == (201, catalogue.shoes)
    [record] = _kept(path)
    assert (record.query_item_id, record.embedding, record.image_sha256) == ("👟", None, None)
    assert (record.category, record.clicked_item_id) == (catalogue.shoes, "niño-é")


def test_the_classifiers_own_word_is_kept_also_of_an_image_in_the_catalogue(catalogue, engine_with, watch_on, path):
    engine = engine_with([0.8, 0.15, 0.05])
    client = create_app(watch_on(engine), ServiceSettings(), Metrics(0.98), FeedbackLog(path)).test_client()
    assert _form(client, catalogue.image("mug-1"), category=catalogue.mugs).status_code == 201
    [record] = _kept(path)
    assert (record.predicted_category, record.confidence) == (catalogue.hats, pytest.approx(0.8, abs=1e-5))


def test_every_record_has_its_own_id(client, path) -> None:
    ids = {_post(client, item_id="mug-1", category="mugs").json["feedback_id"] for _ in range(3)}
    assert {record.feedback_id for record in _kept(path)} == ids
    assert len(ids) == 3


def test_feedback_is_counted_by_kind_and_whether_the_prediction_was_right(catalogue, client) -> None:
    assert set(_counted(client).values()) == {0}
    for fields in (
        {"category": catalogue.hats},
        {"category": catalogue.mugs},
        {"category": catalogue.shoes},
        {"clicked_item_id": "#1"},
        {"clicked_item_id": "mug-1", "category": catalogue.mugs},
        {"clicked_item_id": "none"},
    ):
        _post(client, image_base64=_BASE64, **fields)
    assert _counted(client) == {
        ("category", "right"): 1,
        ("category", "wrong"): 2,
        ("click", "right"): 1,
        ("click", "wrong"): 1,
    }


# Asked wrongly

_MUG = {"item_id": "mug-1"}


@pytest.mark.parametrize(
    ("body", "status", "code", "message"),
    [
        (_MUG, 400, "invalid_request", "no feedback given"),
        ({**_MUG, "category": None}, 400, "invalid_request", "no feedback given"),
        ({"category": "mugs"}, 400, "invalid_request", "no query given; expected exactly one of"),
        ({**_MUG, "category": ""}, 400, "invalid_request", "`category` is ''; expected a non-empty string"),
        ({**_MUG, "category": ["mugs"]}, 400, "invalid_request", "`category` is ['mugs']"),
        ({**_MUG, "clicked_item_id": ""}, 400, "invalid_request", "`clicked_item_id` is ''; expected"),
        ({**_MUG, "clicked_item_id": 3}, 400, "invalid_request", "`clicked_item_id` is 3; expected"),
        ({**_MUG, "clicked_item_id": "\ud800"}, 400, "invalid_request", "not valid JSON"),
        ({**_MUG, "category": "mugs", "top_k": 3}, 400, "invalid_request", "unknown field 'top_k'"),
        ({**_MUG, "category": "mugs", "clicked_item_id": "👟"}, 400, "invalid_request", "the item's own category"),
        (
            {**_MUG, "embedding": [1] * 8, "category": "mugs"},
            400,
            "invalid_request",
            "item_id, embedding; expected",
        ),
        ({**_MUG, "category": "Mugs"}, 404, "unknown_category", "'Mugs'; GET /v1/categories lists them"),
        ({**_MUG, "clicked_item_id": "mug-2"}, 404, "unknown_item", "'mug-2'"),
        ({"item_id": "mug-2", "category": "mugs"}, 404, "unknown_item", "'mug-2'"),
        ({"embedding": [1] * 7, "category": "mugs"}, 422, "invalid_embedding", "(7,)"),
        ({"embedding": [0] * 8, "category": "mugs"}, 422, "invalid_embedding", "expected a direction"),
        ({"image_base64": "AAAA", "category": "mugs"}, 415, "unsupported_image", ""),
        ({"image_base64": "A" * 400_000, "category": "mugs"}, 413, "image_too_large", ""),
    ],
    ids=ascii,
)
def test_what_can_not_be_is_refused_and_not_kept(client, assert_error, path, body, status, code, message) -> None:
    assert message in assert_error(_post(client, **body), status, code)
    assert path.read_bytes() == b""
    assert set(_counted(client).values()) == {0}


def test_forms_are_checked_too(client, assert_error, path) -> None:
    for response in (
        _form(client, _GREEN),
        _form(client, _GREEN, category=["mugs", "mugs"]),
        _form(client, _GREEN, category="mugs", rank="1"),
        _form(client, _GREEN, category="mugs", item_id="mug-1"),
    ):
        assert_error(response, 400, "invalid_request")
    assert_error(client.post("/v1/feedback", data=b"x", content_type="text/plain"), 415, "unsupported_body")
    assert_error(client.get("/v1/feedback"), 405, "method_not_allowed")
    assert path.read_bytes() == b""


def test_a_client_can_not_make_a_record_large(catalogue, client, path) -> None:
    """Whatever it sends: names are the catalogue's own, and the embedding has its length."""
    embedding = [float(f"0.{'7' * 2000}")] * 8
    assert _post(client, embedding=embedding, category="mugs").status_code == 201
    assert _form(client, _GREEN + bytes(50_000), category="mugs").status_code == 201
    assert all(len(line) < 1000 for line in path.read_bytes().splitlines())


# Off, and disks that fail


def test_without_the_setting_there_is_no_feedback(engine, watch_on, assert_error) -> None:
    client = create_app(watch_on(engine), ServiceSettings(), Metrics(0.98)).test_client()
    message = assert_error(_post(client, item_id="mug-1", category="mugs"), 404, "feedback_off")
    assert "PARECIDO_FEEDBACK" in message


def test_a_disk_that_fails_is_told_and_harms_no_search(client, assert_error, path, monkeypatch) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "write", full)
        message = assert_error(_post(client, item_id="mug-1", category="mugs"), 507, "storage")
        assert "No space left on device" in message
        assert str(path) not in message
        assert client.post("/v1/search", json={"item_id": "mug-1"}).status_code == 200
    assert set(_counted(client).values()) == {0}
    assert _post(client, item_id="mug-1", category="mugs").status_code == 201
    assert len(_kept(path)) == 1
