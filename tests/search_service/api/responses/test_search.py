"""Writing answers, without an application around them."""

import json
from dataclasses import replace

import pytest
from pydantic import TypeAdapter, ValidationError

from search_service.api.responses.catalogue import CategoriesJson, ItemJson, categories_json, item_json
from search_service.api.responses.search import (
    ClassifiedJson,
    SearchedJson,
    classified_json,
    image_url,
    searched_json,
)
from search_service.api.schemas import Options
from shared.catalogue.items import Item
from shared.manifest import CategoryEntry
from shared.retrieval.ood_verdict import OodVerdict
from shared.retrieval.results import ItemHit, Prediction, SearchResult

_TIMING = {"decode": 1.23456, "embed": 0.0, "classify": 0.1, "search": 0.2, "total": 2.0}
_CANDIDATES = (Prediction("mugs", 0.7512345678), Prediction("hats/caps 🎩", 0.2))
_ITEM = Item("a/b c", "mugs", ("mugs/1.png", "mugs/2.png", "mugs/3.png"), {"price": 3, "tags": ["é", 1]})
_UNKNOWN = OodVerdict(in_distribution=False, score=-0.25)
_ENTRIES = (CategoryEntry("é", 1, 1, 1, "IndexFlatIP", 1.0),)
_HITS = (ItemHit(1, 0.98765432, _ITEM),)
_ANSWER = SearchResult("id", _CANDIDATES[0], _CANDIDATES, ("mugs",), _HITS, _TIMING, _UNKNOWN)


def test_an_answer_is_json() -> None:
    found = searched_json(_ANSWER, Options())
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
    query = searched_json(replace(_ANSWER, ood_verdict=OodVerdict()), Options())["query"]
    assert (query["known"], query["known_score"]) == (None, None)


def test_a_classification_has_no_hits() -> None:
    whole = searched_json(_ANSWER, Options())
    assert classified_json(_ANSWER) == {name: whole[name] for name in ("snapshot_id", "query", "timing_ms")}


def test_answers_have_exactly_the_types_that_the_document_tells() -> None:
    item, categories = item_json("id", _ITEM), categories_json("id", _ENTRIES, has_words=True)
    answers = [
        (SearchedJson, searched_json(_ANSWER, Options())),
        (SearchedJson, searched_json(replace(_ANSWER, ood_verdict=OodVerdict(), hits=()), Options())),
        (ClassifiedJson, classified_json(_ANSWER)),
        (ItemJson, item),
        (CategoriesJson, categories),
    ]
    for model, answer in answers:
        TypeAdapter(model).validate_python(answer, strict=True)
        with pytest.raises(ValidationError, match="extra_forbidden"):
            TypeAdapter(model).validate_python({**answer, "more": 1})


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [(None, _ITEM.metadata), ([], {}), (["tags", "none"], {"tags": ["é", 1]}), (["price", "tags"], _ITEM.metadata)],
)
def test_fields_choose_metadata(fields, wanted) -> None:
    assert item_json("id", _ITEM, fields)["metadata"] == wanted
    assert searched_json(_ANSWER, Options(fields=fields))["hits"][0]["metadata"] == wanted


def test_groups_and_duplicates_are_told_where_they_were_asked_for() -> None:
    hit = ItemHit(1, 0.9, _ITEM, group=3, duplicates=("b", "c"))
    answer = replace(_ANSWER, hits=(hit, ItemHit(2, 0.8, _ITEM)))

    def found(options: Options) -> list[dict]:
        return [
            {name: hit[name] for name in ("group", "duplicates") if name in hit}
            for hit in TypeAdapter(SearchedJson).validate_python(searched_json(answer, options))["hits"]
        ]

    assert found(Options()) == [{}, {}]
    assert found(Options(group_by="size")) == [{"group": 3}, {"group": None}]
    assert found(Options(collapse_above=0.9)) == [{"duplicates": ["b", "c"]}, {"duplicates": []}]


@pytest.mark.parametrize(
    ("item_id", "escaped"),
    [("a-b_c.1~", "a-b_c.1~"), ("a/b", "a%2Fb"), ("a b%?#", "a%20b%25%3F%23"), ("é", "%C3%A9"), ("a+b&c", "a%2Bb%26c")],
)
def test_an_image_url_escapes_the_id(item_id, escaped) -> None:
    assert image_url(item_id) == f"/v1/items/{escaped}/image"
