"""`POST /v1/search/batch`: several queries, each as it would be answered alone."""

import base64
import io
import json

import pytest
from werkzeug.test import TestResponse

from search_service.app import create_app
from search_service.engine.engine import Engine
from search_service.observability.metrics import Metrics
from search_service.settings import ServiceSettings

_PATH = "/v1/search/batch"


def _untimed(answer: dict) -> dict:
    return {name: value for name, value in answer.items() if name != "timing_ms"}


def _files(*images: bytes) -> list[tuple[io.BytesIO, str]]:
    return [(io.BytesIO(image), f"{place}.png") for place, image in enumerate(images)]


def test_each_is_answered_as_alone_and_in_order(catalogue, client) -> None:
    embedding = catalogue.rows[catalogue.hats][0][1].tolist()
    image = base64.b64encode(catalogue.image("#1")).decode()
    queries = [
        {"item_id": "mug-1"},
        {"embedding": embedding, "top_k": 1},
        {"image_base64": image, "probe": 2, "fields": []},
        {"item_id": "mug-1", "category": catalogue.hats},
    ]
    response = client.post(_PATH, json={"queries": queries, "top_k": 3, "category": None})
    assert response.status_code == 200
    assert list(response.json) == ["snapshot_id", "results"]
    assert response.json["snapshot_id"] == catalogue.snapshot.snapshot_id
    alone = [client.post("/v1/search", json={"top_k": 3, **query}).json for query in queries]
    assert [_untimed(one) for one in response.json["results"]] == [_untimed(one) for one in alone]
    assert [len(one["hits"]) for one in response.json["results"]] == [3, 1, 3, 3]


def test_a_form_has_several_images_and_common_options(catalogue, client) -> None:
    ids = ["mug-1", "#1", "👟"]
    data = {"image": _files(*map(catalogue.image, ids)), "top_k": "1", "filter": "{}", "fields": "price"}
    results = client.post(_PATH, data=data).json["results"]
    assert [[hit["item_id"] for hit in one["hits"]] for one in results] == [[item_id] for item_id in ids]


def test_a_bad_one_fails_alone(catalogue, client) -> None:
    bad = [
        ({"item_id": "none"}, "unknown_item"),
        ({"embedding": [1]}, "invalid_embedding"),
        ({"embedding": [None] * 8}, "invalid_embedding"),
        ({"image_base64": "AAAA"}, "unsupported_image"),
        ({"item_id": "mug-1", "top_k": 0}, "invalid_request"),
        ({"item_id": "mug-1", "filter": {"a": None}}, "invalid_request"),
        ({"item_id": "mug-1", "category": "Mugs"}, "unknown_category"),
        ({"item_id": "mug-1", "queries": []}, "invalid_request"),
        ({}, "invalid_request"),
        (None, "invalid_request"),
        ("mug-1", "invalid_request"),
    ]
    good = {"item_id": "mug-1"}
    response = client.post(_PATH, json={"queries": [good, *(query for query, _ in bad), good]})
    assert response.status_code == 200
    first, *failed, last = response.json["results"]
    assert _untimed(first) == _untimed(last) == _untimed(client.post("/v1/search", json=good).json)
    assert [one["error"]["code"] for one in failed] == [code for _, code in bad]
    assert {one["error"]["request_id"] for one in failed} == {response.headers["X-Request-ID"]}


def test_a_bad_image_of_a_form_fails_alone(catalogue, client) -> None:
    results = client.post(_PATH, data={"image": _files(b"text", catalogue.image("mug-1"))}).json["results"]
    assert results[0]["error"]["code"] == "unsupported_image"
    assert results[1]["hits"][0]["item_id"] == "mug-1"


def test_an_unknown_query_is_rejected_alone(judging, watch_on) -> None:
    client = create_app(watch_on(judging()), ServiceSettings(), Metrics(0.98)).test_client()
    queries = [{"embedding": [1, -1, 0, 0, 0, 0, 0, 0]}, {"item_id": "mug-1"}]
    results = client.post(_PATH, json={"queries": queries, "on_unknown": "reject"}).json["results"]
    assert results[0]["error"]["code"] == "unknown_query"
    assert results[1]["hits"][0]["item_id"] == "mug-1"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "`queries` is None; expected a list of 1 to 16 objects"),
        ({"queries": []}, "`queries` is []; expected a list of 1 to 16 objects"),
        ({"queries": {}}, "`queries` is {}; expected a list of 1 to 16 objects"),
        ({"queries": [{"item_id": "a"}] * 17}, "expected a list of 1 to 16 objects"),
        ({"queries": [{"item_id": "a"}], "item_id": "a"}, "unknown field 'item_id'; expected one of: "),
        ({"queries": [{"item_id": "a"}], "top_k": 0}, "`top_k` is 0; expected "),
        ({"queries": [{"item_id": "a"}], "filter": {"a": None}}, "`filter` on 'a' is None"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_all_share_is_refused_for_all(client, assert_error, body, message) -> None:
    response = client.post(_PATH, data=json.dumps(body), content_type="application/json")
    assert message in assert_error(response, 400, "invalid_request")


def test_too_many_or_no_images_are_refused(client, catalogue, assert_error) -> None:
    response = client.post(_PATH, data={"image": _files(*[catalogue.image("mug-1")] * 17)})
    assert "the form has 17 files in the field `image`; expected 1 to 16" in assert_error(
        response, 400, "invalid_request"
    )
    response = client.post(_PATH, data={"top_k": "3"}, content_type="multipart/form-data")
    assert_error(response, 400, "invalid_request")


@pytest.fixture
def small(catalogue, watch_on):
    """A service that takes images of 30,000 bytes, and batches of 120,000."""
    settings = ServiceSettings(max_upload_bytes=30_000, max_batch_bytes=120_000)
    engine = Engine(catalogue.snapshot, settings.image_limits)
    return create_app(watch_on(engine), settings, Metrics(0.98)).test_client()


def _padded(catalogue, n_bytes: int) -> bytes:
    return catalogue.image("mug-1").ljust(n_bytes, b"\0")


def _post(client, how: str, images: list[bytes]) -> TestResponse:
    if how == "form":
        return client.post(_PATH, data={"image": _files(*images)})
    return client.post(_PATH, json={"queries": [{"image_base64": base64.b64encode(one).decode()} for one in images]})


@pytest.mark.parametrize("how", ["form", "json"])
def test_a_batch_may_be_larger_than_one_image_may(catalogue, small, assert_error, how) -> None:
    results = _post(small, how, [_padded(catalogue, 30_000)] * 4).json["results"]
    assert [one["hits"][0]["item_id"] for one in results] == ["mug-1"] * 4
    results = _post(small, how, [_padded(catalogue, 30_001), _padded(catalogue, 30_000)]).json["results"]
    assert results[0]["error"]["code"] == "image_too_large"
    assert results[1]["hits"]
    message = assert_error(_post(small, how, [_padded(catalogue, 30_000)] * 15), 413, "image_too_large")
    assert "PARECIDO_MAX_BATCH_BYTES" in message


def test_each_query_is_counted(client) -> None:
    client.post(_PATH, json={"queries": [{"item_id": "mug-1"}, {"embedding": [1] * 8}, {"item_id": "none"}]})
    text = client.get("/metrics").text
    assert 'parecido_stage_seconds_count{stage="search"} 2.0' in text
    assert "parecido_confidence_count 1.0" in text
