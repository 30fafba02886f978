"""Reading queries and options, and writing answers, without an application around them."""

import base64
import io
import json
from dataclasses import replace

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from search_service.answer import Answer, Candidate, ItemHit
from search_service.options import SearchOptions
from search_service.schemas import (
    Query,
    answer_json,
    categories_json,
    classified_json,
    image_url,
    item_json,
    read_options,
    read_query,
    read_told,
)
from search_service.told import Told
from search_service.verdict import Verdict
from shared.catalogue import Item
from shared.errors import InvalidRequest
from shared.manifest import CategoryEntry


def _request(**builder: object) -> Request:
    return Request(EnvironBuilder(method="POST", **builder).get_environ())


# Queries


def test_a_form_gives_the_files_bytes_and_the_options_as_text() -> None:
    data = {"image": (io.BytesIO(b"\x00\xffbytes"), "a.png"), "top_k": "3", "category": "a/b é"}
    with _request(data=data) as request:
        query, options = read_query(request)
    assert query == Query(image=b"\x00\xffbytes")
    assert options == {"top_k": "3", "category": "a/b é"}


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"image_base64": base64.b64encode(b"\x00\xffbytes").decode()}, Query(image=b"\x00\xffbytes")),
        ({"item_id": "a//b é"}, Query(item_id="a//b é")),
        ({"embedding": [1, -0.5]}, Query(embedding=[1, -0.5])),
    ],
)
def test_json_gives_the_query_and_the_options_as_they_are(body, wanted) -> None:
    query, options = read_query(_request(json={**body, "top_k": 3, "probe": None, "min_score": "0.5"}))
    assert query == wanted
    assert options == {"top_k": 3, "min_score": "0.5"}


def test_a_content_type_may_have_parameters() -> None:
    request = _request(data=b'{"item_id": "\xc3\xa9"}', content_type="Application/JSON; charset=utf-8")
    assert read_query(request) == (Query(item_id="é"), {})


def test_only_the_routes_options_are_known() -> None:
    with pytest.raises(InvalidRequest, match="there is no field 'probe'"):
        read_query(_request(json={"item_id": "a", "probe": 2}), option_fields=("top_k",))


# Options


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, SearchOptions(top_k=10, category=None, probe=1, min_score=None)),
        ({"top_k": 1}, SearchOptions(top_k=1)),
        ({"top_k": "1"}, SearchOptions(top_k=1)),
        ({"top_k": 100}, SearchOptions(top_k=100)),
        ({"probe": 3}, SearchOptions(probe=3)),
        ({"probe": "3"}, SearchOptions(probe=3)),
        ({"probe": "auto"}, SearchOptions(probe="auto")),
        ({"min_score": -1}, SearchOptions(min_score=-1.0)),
        ({"min_score": "1"}, SearchOptions(min_score=1.0)),
        ({"min_score": 0.25}, SearchOptions(min_score=0.25)),
        ({"category": "hats/caps 🎩"}, SearchOptions(category="hats/caps 🎩")),
        ({"on_unknown": "search"}, SearchOptions()),
        ({"on_unknown": "empty"}, SearchOptions(on_unknown="empty")),
        ({"on_unknown": "reject"}, SearchOptions(on_unknown="reject")),
        (
            {"top_k": "5", "category": "auto", "min_score": "0"},
            SearchOptions(top_k=5, category="auto", min_score=0.0),
        ),
    ],
    ids=str,
)
def test_options_are_read_from_text_and_json(given, wanted) -> None:
    assert read_options(given, max_top_k=100) == wanted


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"top_k": 101}, "`top_k` is 101; wanted a whole number from 1 to 100"),
        ({"top_k": "0"}, "`top_k` is '0'; wanted a whole number from 1 to 100"),
        ({"top_k": 2.0}, "`top_k` is 2.0; wanted a whole number from 1 to 100"),
        ({"probe": "many"}, "`probe` is 'many'; wanted a whole number from 1, or auto"),
        ({"min_score": 1.001}, "`min_score` is 1.001; wanted a number from -1 to 1"),
        ({"on_unknown": "skip"}, "`on_unknown` is 'skip'; wanted one of search, empty, reject"),
        ({"category": 7}, "`category` is 7; wanted the name of a category"),
    ],
    ids=str,
)
def test_a_message_says_what_was_found_and_wanted(given, message) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_options(given, max_top_k=100)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"category": "hats/caps 🎩"}, Told(category="hats/caps 🎩")),
        ({"clicked_item_id": "a//b é"}, Told(clicked_item_id="a//b é")),
        ({"category": "a", "clicked_item_id": "b"}, Told("a", "b")),
    ],
)
def test_what_is_told_is_read(given, wanted) -> None:
    assert read_told(given) == wanted


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "found neither `category` nor `clicked_item_id`; wanted one of them at least"),
        ({"category": 7}, "`category` is 7; wanted the name of a category"),
        ({"clicked_item_id": ["b"]}, "`clicked_item_id` is no text"),
        ({"category": "a", "clicked_item_id": ""}, "`clicked_item_id` is no text"),
    ],
)
def test_what_can_not_be_told_is_refused(given, message) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_told(given)
    assert str(caught.value) == message


# Answers

_TIMING = {"decode": 1.23456, "embed": 0.0, "classify": 0.1, "search": 0.2, "total": 2.0}
_CANDIDATES = (Candidate("mugs", 0.7512345678), Candidate("hats/caps 🎩", 0.2))
_ITEM = Item("a/b c", "mugs", ("mugs/1.png", "mugs/2.png", "mugs/3.png"), {"price": 3, "tags": ["é", 1]})
_UNKNOWN = Verdict(known=False, score=-0.25)
_ANSWER = Answer("id", _CANDIDATES[0], _CANDIDATES, ("mugs",), (ItemHit(1, 0.98765432, _ITEM),), _TIMING, _UNKNOWN)


def test_an_answer_is_json() -> None:
    found = answer_json(_ANSWER)
    assert json.loads(json.dumps(found)) == found
    assert found == {
        "snapshot_id": "id",
        "query": {
            "category": "mugs",
            "confidence": 0.751235,
            "known": False,
            "known_score": -0.25,
            "candidates": [
                {"category": "mugs", "confidence": 0.751235},
                {"category": "hats/caps 🎩", "confidence": 0.2},
            ],
        },
        "searched": ["mugs"],
        "hits": [
            {
                "rank": 1,
                "item_id": "a/b c",
                "score": 0.98765432,
                "category": "mugs",
                "image_url": "/v1/items/a%2Fb%20c/image",
                "metadata": {"price": 3, "tags": ["é", 1]},
            }
        ],
        "timing_ms": {"decode": 1.235, "embed": 0.0, "classify": 0.1, "search": 0.2, "total": 2.0},
    }


def test_what_was_not_judged_is_null() -> None:
    query = answer_json(replace(_ANSWER, verdict=Verdict()))["query"]
    assert (query["known"], query["known_score"]) == (None, None)


def test_a_classification_has_no_hits() -> None:
    whole = answer_json(_ANSWER)
    assert classified_json(_ANSWER) == {name: whole[name] for name in ("snapshot_id", "query", "timing_ms")}


def test_an_item_names_all_its_images() -> None:
    found = item_json("id", _ITEM)
    url = "/v1/items/a%2Fb%20c/image"
    assert found["image_url"] == url
    assert found["image_urls"] == [url, f"{url}?position=1", f"{url}?position=2"]
    assert (found["snapshot_id"], found["item_id"], found["category"]) == ("id", "a/b c", "mugs")
    assert found["metadata"] == _ITEM.metadata


def test_categories_have_their_counts() -> None:
    entries = (CategoryEntry("mugs", 2, 3, 6, "IndexFlatIP", 1.0), CategoryEntry("é", 1, 1, 1, "IndexFlatIP", 1.0))
    assert categories_json("id", entries) == {
        "snapshot_id": "id",
        "categories": [{"category": "mugs", "items": 2, "images": 3}, {"category": "é", "items": 1, "images": 1}],
    }


@pytest.mark.parametrize(
    ("item_id", "escaped"),
    [("a-b_c.1~", "a-b_c.1~"), ("a/b", "a%2Fb"), ("a b%?#", "a%20b%25%3F%23"), ("é", "%C3%A9"), ("a+b&c", "a%2Bb%26c")],
)
def test_an_image_url_escapes_the_id(item_id, escaped) -> None:
    assert image_url(item_id) == f"/v1/items/{escaped}/image"
