"""Reading queries and options, without an application around them."""

import base64
import io
import json

import pytest
from flask import Request
from pydantic import BaseModel
from werkzeug.test import EnvironBuilder

from search_service.api.requests import (
    Search,
    read_arguments,
    read_batch,
    read_body,
    read_form,
    search_options,
    user_feedback,
)
from search_service.api.schemas import (
    WANTED,
    WANTED_ELEMENT,
    BatchBody,
    ClassifyBody,
    FeedbackBody,
    FeedbackFields,
    ImageArguments,
    MetadataFields,
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


def _form(model: type[BaseModel], **fields: str) -> BaseModel:
    with _request(data={"image": (io.BytesIO(b"image"), "a.png"), **fields}) as request:
        return read_form(request, model, _SETTINGS, most=1)[1]


def _arguments(model: type[BaseModel], **fields: str) -> BaseModel:
    return read_arguments(_request(query_string=fields), model, _SETTINGS)


# Queries


def test_a_form_gives_the_files_bytes_and_the_options() -> None:
    data = {"image": (io.BytesIO(b"\x00\xffbytes"), "a.png"), "top_k": "3", "category": "a/b é"}
    query, options = _search(data=data)
    assert query == Query(image=b"\x00\xffbytes")
    assert search_options(options) == SearchOptions(top_k=3, category="a/b é")


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
    assert search_options(options) == SearchOptions(top_k=3, min_score=0.5)


def test_a_content_type_may_have_parameters() -> None:
    query, _ = _search(data=b'{"item_id": "\xc3\xa9"}', content_type="Application/JSON; charset=utf-8")
    assert query == Query(item_id="é")


def test_only_the_routes_fields_are_known() -> None:
    request = _request(json={"embedding": [1], "probe": 2})
    with pytest.raises(InvalidRequest, match="there is no field 'probe'; there are image_base64, image_url, embedding"):
        read_body(request, NoFields, ClassifyBody, _SETTINGS)


def test_what_is_wrong_in_a_list_is_found_at_its_place() -> None:
    with pytest.raises(InvalidEmbedding) as caught:
        _search(json={"embedding": [1.0, 2, "3", None]})
    assert str(caught.value) == "`embedding` has '3' at 2; wanted a number"


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(InvalidRequest) as caught:
        _options(category=["x" * 100_000])
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    "model",
    [SearchBody, BatchBody, ClassifyBody, FeedbackBody, Options, FeedbackFields, MetadataFields, ImageArguments],
)
def test_every_field_has_a_message(model) -> None:
    for name in model.model_fields:
        assert WANTED[name].format_map(vars(_SETTINGS))
    assert WANTED_ELEMENT.keys() <= WANTED.keys()


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
        assert search_options(options) == wanted


def test_fields_are_a_list_in_json_and_separated_by_commas_elsewhere() -> None:
    assert _options().fields is None
    assert _options(fields=["price", "a,b"]).fields == ["price", "a,b"]
    assert _options(fields=[]).fields == []
    for read in (_form, _arguments):
        assert read(Options, fields="price,título").fields == ["price", "título"]
        assert read(Options, fields="").fields == []
        with pytest.raises(InvalidRequest, match="`fields` has '' at 1; wanted the name of a metadata field"):
            read(Options, fields="price,")


def test_a_filter_is_an_object_in_json_and_spelled_as_json_elsewhere() -> None:
    filters = {"brand": "Acme", "size": [41, 42], "price": {"gte": 10, "lt": 50.5}, "in_stock": True}
    wanted = SearchOptions(filter=MetadataFilter.from_json(filters))
    assert search_options(_options(filter=filters)) == wanted
    for read in (_form, _arguments):
        assert search_options(read(Options, filter=json.dumps(filters))) == wanted


def test_text_is_no_number_in_json() -> None:
    with pytest.raises(InvalidRequest, match="`top_k` is '3'; wanted a whole number"):
        _options(top_k="3")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"top_k": 101}, "`top_k` is 101; wanted a whole number from 1 to 100"),
        ({"top_k": 2.0}, "`top_k` is 2.0; wanted a whole number from 1 to 100"),
        ({"probe": "many"}, "`probe` is 'many'; wanted a whole number from 1, or auto"),
        ({"min_score": 1.001}, "`min_score` is 1.001; wanted a number from -1 to 1"),
        ({"on_unknown": "skip"}, "`on_unknown` is 'skip'; wanted one of search, empty, reject"),
        ({"category": 7}, "`category` is 7; wanted the name of a category"),
        ({"offset": 8}, "`offset` is 8; wanted a whole number from 0 to 7"),
        ({"offset": -1}, "`offset` is -1; wanted a whole number from 0 to 7"),
        ({"filter": "{"}, "`filter` is '{'; wanted a JSON object from metadata fields to conditions"),
        ({"filter": []}, "`filter` is []; wanted a JSON object from metadata fields to conditions"),
        ({"group_by": ""}, "`group_by` is ''; wanted the name of a metadata field"),
        ({"collapse_above": 0}, "`collapse_above` is 0; wanted a number above 0, at most 1"),
        ({"collapse_above": 1.1}, "`collapse_above` is 1.1; wanted a number above 0, at most 1"),
        ({"fields": "price"}, "`fields` is 'price'; wanted a list of up to 100 metadata fields"),
        ({"fields": ["a", ""]}, "`fields` has '' at 1; wanted the name of a metadata field"),
    ],
    ids=str,
)
def test_a_message_says_what_was_found_and_wanted(given, message) -> None:
    with pytest.raises(InvalidRequest) as caught:
        _options(**given)
    assert str(caught.value) == message


@pytest.mark.parametrize("text", ["0", "1.0", "+1", " 1", "1_0", "²", "1e1", ""])
def test_what_spells_no_whole_number_is_shown_as_it_came(text) -> None:
    for read in (_form, _arguments):
        with pytest.raises(InvalidRequest) as caught:
            read(Options, top_k=text)
        assert str(caught.value) == f"`top_k` is {text!r}; wanted a whole number from 1 to 100"


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
        ({}, "found neither `category` nor `clicked_item_id`; wanted one of them at least"),
        ({"category": 7}, "`category` is 7; wanted the name of a category"),
        ({"clicked_item_id": ["b"]}, "`clicked_item_id` is ['b']; wanted the id of an item"),
        ({"category": "a", "clicked_item_id": ""}, "`clicked_item_id` is ''; wanted the id of an item"),
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
        with _request(**builder) as request, pytest.raises(ImageTooLarge, match="9,001 bytes; at most 9,000"):
            read_body(request, Options, SearchBody, small)
    with _request(json={"queries": [{"image_base64": text}, {"item_id": "a"}]}) as request:
        refused, search = read_batch(request, small)
    assert isinstance(refused, ImageTooLarge)
    assert isinstance(search, Search)
