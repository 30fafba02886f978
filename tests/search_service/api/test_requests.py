"""Reading queries and options, without an application around them."""

import base64
import io
import json
from dataclasses import fields
from typing import Any

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from search_service.api.requests import (
    Search,
    read_arguments,
    read_batch,
    read_body,
    read_form,
    user_feedback,
)
from search_service.api.schemas import (
    ClassifyBody,
    FeedbackBody,
    FeedbackFields,
    NoFields,
    Options,
    SearchBody,
)
from search_service.engine.query import Query
from search_service.engine.user_feedback import UserFeedback
from search_service.settings import ServiceSettings
from shared.catalogue.metadata_filter import MetadataFilter
from shared.errors import ImageTooLarge, InvalidEmbedding, InvalidRequest
from shared.retrieval.search_options import SearchOptions

_SETTINGS = ServiceSettings(max_top_k=100, max_offset=7)


def _request(**builder: object) -> Request:
    return Request(EnvironBuilder(method="POST", **builder).get_environ())


def _search(**builder: object) -> tuple[Query, Options]:
    with _request(**builder) as request:
        return read_body(request, Options, SearchBody, _SETTINGS)


def _options(**given: object) -> Options:
    return _search(json={"item_id": "a", **given})[1]


def _search_options(options: Options) -> SearchOptions:
    """Without the fields of requests alone."""
    return SearchOptions(**{field.name: getattr(options, field.name) for field in fields(SearchOptions)})


def _form(model: type, **fields: str) -> Any:
    with _request(data={"image": (io.BytesIO(b"image"), "a.png"), **fields}) as request:
        return read_form(request, model, _SETTINGS, most=1)[1]


def _arguments(model: type, **fields: str) -> Any:
    return read_arguments(_request(query_string=fields), model, _SETTINGS)


# Queries


def test_a_form_gives_the_files_bytes_and_the_options() -> None:
    data = {"image": (io.BytesIO(b"\x00\xffbytes"), "a.png"), "top_k": "3", "category": "a/b é"}
    query, options = _search(data=data)
    assert query == Query(image=b"\x00\xffbytes")
    assert _search_options(options) == SearchOptions(top_k=3, category="a/b é")


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        ({"image_base64": base64.b64encode(b"\x00\xffbytes").decode()}, Query(image=b"\x00\xffbytes")),
        ({"item_id": "a//b é"}, Query(item_id="a//b é")),
        ({"embedding": [1, -0.5]}, Query(embedding=[1, -0.5])),
    ],
)
def test_json_gives_the_query_and_the_options(body, wanted) -> None:
    query, options = _search(json={**body, "top_k": 3, "probe": None, "min_score": 0.5})
    assert query == wanted
    assert _search_options(options) == SearchOptions(top_k=3, min_score=0.5)


def test_a_content_type_may_have_parameters() -> None:
    query, _ = _search(data=b'{"item_id": "\xc3\xa9"}', content_type="Application/JSON; charset=utf-8")
    assert query == Query(item_id="é")


def test_only_the_routes_fields_are_known() -> None:
    request = _request(json={"embedding": [1], "probe": 2})
    with pytest.raises(InvalidRequest, match="unknown field 'probe'; expected one of: image_base64, "):
        read_body(request, NoFields, ClassifyBody, _SETTINGS)


def test_an_invalid_element_of_a_list_is_named_by_its_position() -> None:
    with pytest.raises(InvalidEmbedding) as caught:
        _search(json={"embedding": [1.0, 2, "3", None]})
    assert str(caught.value) == "`embedding` has '3' at 2; expected a number"


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(InvalidRequest) as caught:
        _options(category=["x" * 100_000])
    assert len(str(caught.value)) < 200


# Options


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, SearchOptions(top_k=10, category=None, probe=1, min_score=None)),
        ({"top_k": 1}, SearchOptions(top_k=1)),
        ({"top_k": 100}, SearchOptions(top_k=100)),
        ({"probe": 3}, SearchOptions(probe=3)),
        ({"probe": "auto"}, SearchOptions(probe="auto")),
        ({"min_score": -1}, SearchOptions(min_score=-1.0)),
        ({"min_score": 1}, SearchOptions(min_score=1.0)),
        ({"min_score": 0.25}, SearchOptions(min_score=0.25)),
        ({"category": "hats/caps 🎩"}, SearchOptions(category="hats/caps 🎩")),
        ({"offset": 0}, SearchOptions()),
        ({"offset": 7}, SearchOptions(offset=7)),
        ({"group_by": "brand"}, SearchOptions(group_by="brand")),
        ({"collapse_above": 0.99}, SearchOptions(collapse_above=0.99)),
        ({"collapse_above": 1}, SearchOptions(collapse_above=1.0)),
        ({"on_unknown": "search"}, SearchOptions()),
        ({"on_unknown": "empty"}, SearchOptions(on_unknown="empty")),
        ({"on_unknown": "reject"}, SearchOptions(on_unknown="reject")),
        ({"top_k": 5, "category": "auto", "min_score": 0}, SearchOptions(top_k=5, category="auto", min_score=0.0)),
    ],
    ids=str,
)
def test_options_are_read_from_json_forms_and_query_strings(given, wanted) -> None:
    text = {name: str(value) for name, value in given.items()}
    for options in (_options(**given), _form(Options, **text), _arguments(Options, **text)):
        assert _search_options(options) == wanted


def test_fields_are_a_list_in_json_and_separated_by_commas_elsewhere() -> None:
    assert _options().fields is None
    assert _options(fields=["price", "a,b"]).fields == ["price", "a,b"]
    assert _options(fields=[]).fields == []
    for read in (_form, _arguments):
        assert read(Options, fields="price,título").fields == ["price", "título"]
        assert read(Options, fields="").fields == []
        with pytest.raises(InvalidRequest, match="`fields` has '' at 1; expected a non-empty string"):
            read(Options, fields="price,")


def test_a_filter_is_an_object_in_json_and_json_text_elsewhere() -> None:
    filters = {"brand": "Acme", "size": [41, 42], "price": {"gte": 10, "lt": 50.5}, "in_stock": True}
    wanted = SearchOptions(filter=MetadataFilter.from_json(filters))
    assert _search_options(_options(filter=filters)) == wanted
    for read in (_form, _arguments):
        assert _search_options(read(Options, filter=json.dumps(filters))) == wanted


def test_text_is_no_number_in_json() -> None:
    with pytest.raises(InvalidRequest, match="`top_k` is '3'; expected an integer"):
        _options(top_k="3")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"top_k": 101}, "`top_k` is 101; expected an integer from 1 to 100"),
        ({"top_k": 2.0}, "`top_k` is 2.0; expected an integer from 1 to 100"),
        ({"probe": "many"}, "`probe` is 'many'; expected an integer from 1 to 2,147,483,648 or auto"),
        ({"min_score": 1.001}, "`min_score` is 1.001; expected a number from -1 to 1"),
        ({"on_unknown": "skip"}, "`on_unknown` is 'skip'; expected one of: search, empty, reject"),
        ({"category": 7}, "`category` is 7; expected a non-empty string"),
        ({"offset": 8}, "`offset` is 8; expected an integer from 0 to 7"),
        ({"offset": -1}, "`offset` is -1; expected an integer from 0 to 7"),
        ({"filter": "{"}, "`filter` is '{'; expected an object from fields to conditions"),
        ({"filter": []}, "`filter` is []; expected an object from fields to conditions"),
        ({"group_by": ""}, "`group_by` is ''; expected a non-empty string"),
        ({"collapse_above": 0}, "`collapse_above` is 0; expected a number greater than 0 and at most 1"),
        ({"collapse_above": 1.1}, "`collapse_above` is 1.1; expected a number greater than 0 and at most 1"),
        ({"fields": "price"}, "`fields` is 'price'; expected a list of at most 100 non-empty strings"),
        ({"fields": ["a", ""]}, "`fields` has '' at 1; expected a non-empty string"),
    ],
    ids=str,
)
def test_a_message_has_the_value_and_what_was_expected(given, message) -> None:
    with pytest.raises(InvalidRequest) as caught:
        _options(**given)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["0", "1.0", "+1", " 1", "1_0", "²", "1e1", ""])
def test_text_that_is_not_an_integer_is_shown_unchanged(text) -> None:
    for read in (_form, _arguments):
        with pytest.raises(InvalidRequest) as caught:
            read(Options, top_k=text)
        assert str(caught.value) == f"`top_k` is {text!r}; expected an integer from 1 to 100"


# Feedback


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({"category": "hats/caps 🎩"}, UserFeedback(category="hats/caps 🎩")),
        ({"clicked_item_id": "a//b é"}, UserFeedback(clicked_item_id="a//b é")),
        ({"category": "a", "clicked_item_id": "b"}, UserFeedback("a", "b")),
    ],
)
def test_what_is_told_is_read(given, wanted) -> None:
    _, fields = read_body(_request(json={"item_id": "a", **given}), FeedbackFields, FeedbackBody, _SETTINGS)
    assert user_feedback(fields) == user_feedback(_form(FeedbackFields, **given)) == wanted


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "no feedback given; expected `category`, `clicked_item_id` or both"),
        ({"category": 7}, "`category` is 7; expected a non-empty string"),
        ({"clicked_item_id": ["b"]}, "`clicked_item_id` is ['b']; expected a non-empty string"),
        ({"category": "a", "clicked_item_id": ""}, "`clicked_item_id` is ''; expected a non-empty string"),
    ],
)
def test_what_can_not_be_told_is_refused(given, message) -> None:
    request = _request(json={"item_id": "a", **given})
    with pytest.raises(InvalidRequest) as caught:
        user_feedback(read_body(request, FeedbackFields, FeedbackBody, _SETTINGS)[1])
    assert str(caught.value) == message


# Sizes


def test_an_image_of_too_many_bytes_is_refused_when_it_is_read() -> None:
    small = ServiceSettings(max_upload_bytes=9_000)
    text = base64.b64encode(bytes(9_001)).decode()
    for builder in ({"json": {"image_base64": text}}, {"data": {"image": (io.BytesIO(bytes(9_001)), "a.png")}}):
        with _request(**builder) as request, pytest.raises(ImageTooLarge, match="9,001 bytes; expected at most 9,000"):
            read_body(request, Options, SearchBody, small)
    with _request(json={"queries": [{"image_base64": text}, {"item_id": "a"}]}) as request:
        refused, search = read_batch(request, small)
    assert isinstance(refused, ImageTooLarge)
    assert isinstance(search, Search)
