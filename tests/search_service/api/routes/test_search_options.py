"""`filter`, `offset`, `group_by`, `collapse_above` and `fields` through the web client, in every way to ask."""

import base64
import io
import json

import pytest
from flask.testing import FlaskClient


def _ask(client: FlaskClient, image: bytes, how: str, **options: object) -> dict:
    text = {name: json.dumps(value) if isinstance(value, dict) else str(value) for name, value in options.items()}
    if how == "form":
        response = client.post("/v1/search", data={"image": (io.BytesIO(image), "query.png"), **text})
    elif how == "similar":
        response = client.get("/v1/items/mug-1/similar", query_string=text)
    else:
        response = client.post("/v1/search", json={"image_base64": base64.b64encode(image).decode(), **options})
    assert response.status_code == 200, response.text
    return response.json


@pytest.fixture(params=["json", "form", "similar"])
def ask(request, catalogue, client):
    image = catalogue.image("mug-1")
    return lambda **options: _ask(client, image, request.param, **options)


def _ids(answer: dict) -> list[str]:
    return [hit["item_id"] for hit in answer["hits"]]


def test_pages_together_are_the_whole(ask) -> None:
    whole = ask(probe=3, top_k=50)["hits"]
    pages = [hit for offset in range(0, 20, 4) for hit in ask(probe=3, top_k=4, offset=offset)["hits"]]
    assert pages == whole
    assert [hit["rank"] for hit in pages] == list(range(1, len(whole) + 1))


def test_a_filter_leaves_only_what_meets_it(ask) -> None:
    assert _ids(ask(probe=3, filter={"price": {"gt": 5}})) == ["hats/caps/1.png"]
    assert _ids(ask(probe=3, filter={"sizes": ["M", "XL"]})) == ["hats/caps/1.png"]
    assert _ids(ask(probe=3, filter={"price": {"gt": 5}, "stock": 0})) == []


def test_groups_and_folded_hits_are_told(ask) -> None:
    grouped = ask(probe=3, top_k=50, group_by="price")["hits"]
    assert {hit["item_id"]: hit["group"] for hit in grouped if hit["group"] is not None}["hats/caps/1.png"] == 12.5
    assert all("group" not in hit and "duplicates" not in hit for hit in ask()["hits"])
    whole, folded = ask(probe=3, top_k=50), ask(probe=3, top_k=50, collapse_above=0.97)
    assert len(folded["hits"]) < len(whole["hits"])
    told = [*_ids(folded), *(item_id for hit in folded["hits"] for item_id in hit["duplicates"])]
    assert sorted(told) == sorted(_ids(whole))


def test_fields_choose_metadata(ask, client) -> None:
    metadata = {hit["item_id"]: hit["metadata"] for hit in ask(probe=3, top_k=50)["hits"]}
    assert metadata["hats/caps/1.png"] == {"price": 12.5, "sizes": ["S", "M"]}
    url = "/v1/items/hats%2Fcaps%2F1.png?fields=sizes"
    assert client.get(url).json["metadata"] == {"sizes": ["S", "M"]}
    assert client.get(f"{url},price,none").json["metadata"] == {"price": 12.5, "sizes": ["S", "M"]}
