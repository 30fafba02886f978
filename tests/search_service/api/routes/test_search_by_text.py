"""`text` in every way that a query can be sent."""

import io
from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from search_service.observability.metrics import Metrics


def _ids(answer: dict) -> list[str]:
    return [hit["item_id"] for hit in answer["hits"]]


def _form(catalogue, item_id: str, **fields: str) -> dict:
    return {"image": (io.BytesIO(catalogue.image(item_id)), "photo.png"), **fields}


def test_a_text_alone_finds_what_it_describes(text_client: FlaskClient, catalogue) -> None:
    answer = text_client.post("/v1/search", json={"text": "Original RED"}).json
    assert answer["query"]["category"] == catalogue.shoes
    assert answer["query"]["known"] is None
    assert answer["query"]["known_score"] is None
    assert answer["query"]["text"] == "original red"
    assert answer["query"]["unknown_words"] == []
    assert answer["searched"] == [catalogue.shoes]
    assert _ids(answer)[0] == "niño-é"
    assert len(answer["hits"]) == 5


def test_all_ways_of_sending_it_answer_alike(text_client: FlaskClient) -> None:
    options = {"top_k": 3, "probe": 2, "fields": ["price"]}
    by_json = text_client.post("/v1/search", json={"text": "blue original", **options}).json
    form = {"text": "blue original", "top_k": "3", "probe": "2", "fields": "price"}
    by_form = text_client.post("/v1/search", data=form, content_type="multipart/form-data").json
    by_argument = text_client.post("/v1/search?text=blue+original", json=options).json
    [in_batch] = text_client.post("/v1/search/batch", json={"queries": [{"text": "blue original"}], **options}).json[
        "results"
    ]
    assert len(by_json["hits"]) == 3
    for answer in (by_form, by_argument, in_batch):
        assert answer["hits"] == by_json["hits"]
        assert answer["query"] == by_json["query"]


def test_beside_an_image_the_text_changes_the_order(text_client: FlaskClient, catalogue) -> None:
    alone = text_client.post("/v1/search", data=_form(catalogue, "a//b")).json
    both = text_client.post("/v1/search", data=_form(catalogue, "a//b", text="original", text_weight="0.9")).json
    assert _ids(alone)[0] == "a//b"
    assert _ids(both)[0] == "mug-1"
    assert sorted(_ids(both)) == sorted(_ids(alone))
    assert "text" not in alone["query"]
    assert "unknown_words" not in alone["query"]
    assert both["query"]["category"] == alone["query"]["category"]
    assert both["query"]["confidence"] == alone["query"]["confidence"]
    weightless = text_client.post("/v1/search", data=_form(catalogue, "a//b", text="original", text_weight="0")).json
    assert [hit["score"] for hit in weightless["hits"]] == pytest.approx([hit["score"] for hit in alone["hits"]])


@pytest.mark.parametrize("query", [{"item_id": "x&y=z+w;"}, {"embedding": [0.1, 0.1, 0.9, 0.9, 0.9, 0.1, 0.5, 0.5]}])
def test_beside_other_pictures_too(text_client: FlaskClient, query: dict) -> None:
    answer = text_client.post("/v1/search", json={**query, "text": "original"}).json
    assert _ids(answer)[0] == "mug-1"
    assert answer["query"]["text"] == "original"


def test_similar_items_can_be_narrowed(text_client: FlaskClient) -> None:
    answer = text_client.get("/v1/items/a%2F%2Fb/similar?text=original").json
    assert _ids(answer)[0] == "mug-1"
    assert "a//b" not in _ids(answer)


def test_unknown_words_are_named(text_client: FlaskClient, assert_error: Callable) -> None:
    query = text_client.post("/v1/search", json={"text": "shiny gren Elephant"}).json["query"]
    assert query["text"] == "green"
    assert query["unknown_words"] == ["shiny", "elephant"]
    response = text_client.post("/v1/search", json={"text": "shiny Elephant"})
    message = assert_error(response, 422, "unknown_words")
    assert "'shiny', 'elephant'" in message


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"text": ""}, "a non-empty string of at most 400 characters"),
        ({"text": "red " * 101}, "a non-empty string of at most 400 characters"),
        ({"text": 3}, "a non-empty string"),
        ({"text": " ,;"}, "no words"),
        ({"text": "red", "text_weight": 1.5}, "a number from 0 to 1"),
        ({"text": "red", "text_weight": "0.5"}, "a number from 0 to 1"),
        ({"text_weight": 0.5}, "no query given"),
        ({"text": None}, "no query given"),
        ({"text": "red", "item_id": "mug-1", "embedding": [1] * 8}, "several queries given: item_id, embedding"),
        ({"text": "red", "category": "mugs", "probe": 2}, "both given"),
    ],
)
def test_wrong_input_is_rejected(text_client: FlaskClient, assert_error: Callable, body: dict, expected: str) -> None:
    assert expected in assert_error(text_client.post("/v1/search", json=body), 400, "invalid_request")


@pytest.mark.parametrize("text", ["red\0", "ＲＥＤ", "red " + "é" * 396, "🎩 red", "r\u0301ed"])
def test_strange_text_is_no_fault_of_ours(text_client: FlaskClient, text: str) -> None:
    assert text_client.post("/v1/search", json={"text": text}).json["query"]["text"] == "red"


def test_in_a_batch_a_text_refines_every_image_and_fails_alone(text_client: FlaskClient, catalogue) -> None:
    images = [(io.BytesIO(catalogue.image(item_id)), "photo.png") for item_id in ("a//b", "..")]
    results = text_client.post("/v1/search/batch", data={"image": images, "text": "original"}).json["results"]
    assert [_ids(result)[0] for result in results] == ["mug-1", "niño-é"]
    queries = [{"text": "shiny"}, {"text": "red"}, {"item_id": "mug-1", "text": "blue"}]
    failed, *others = text_client.post("/v1/search/batch", json={"queries": queries}).json["results"]
    assert failed["error"]["code"] == "unknown_words"
    assert [result["query"]["text"] for result in others] == ["red", "blue"]


def test_a_text_is_classified(text_client: FlaskClient, catalogue, assert_error: Callable) -> None:
    query = text_client.post("/v1/classify", json={"text": "niños"}).json["query"]
    assert query["category"] == catalogue.shoes
    assert query["confidence"] > 0.9
    assert query["text"] == "ninos"
    both = text_client.post("/v1/classify", json={"text": "red", "embedding": [1] * 8})
    assert "several queries given: embedding, text" in assert_error(both, 400, "invalid_request")


def test_a_text_is_no_query_of_feedback(text_client: FlaskClient, catalogue, assert_error: Callable) -> None:
    response = text_client.post("/v1/feedback", json={"text": "red", "category": catalogue.shoes})
    assert response.status_code in (400, 404)


def test_a_catalogue_without_words_says_so(client: FlaskClient, text_client, catalogue, assert_error: Callable) -> None:
    assert_error(client.post("/v1/search", json={"text": "red"}), 409, "text_unavailable")
    assert_error(client.post("/v1/search", data=_form(catalogue, "mug-1", text="red")), 409, "text_unavailable")
    assert_error(client.post("/v1/classify", json={"text": "red"}), 409, "text_unavailable")
    for path in ("/v1/status", "/v1/categories"):
        assert client.get(path).json["text_search"] is False
        assert text_client.get(path).json["text_search"] is True


def test_texts_are_not_counted_as_classified(text_client: FlaskClient) -> None:
    text_client.post("/v1/search", json={"text": "red"})
    metrics: Metrics = text_client.application.extensions["metrics"]
    assert b"parecido_confidence_count 0.0" in metrics.text()
    text_client.post("/v1/search", json={"text": "red", "embedding": [0.5] * 8})
    assert b"parecido_confidence_count 1.0" in metrics.text()


def test_the_log_does_not_have_the_text(text_client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        text_client.post("/v1/search", json={"text": "original red"})
    assert caplog.records
    assert not any("original" in str(record.__dict__) for record in caplog.records)
