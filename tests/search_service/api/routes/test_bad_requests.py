"""Every way to ask wrongly: its status, its code, and a message that says what was wrong and what was expected."""

import base64
import io
import json
import struct
import zlib
from contextlib import closing

import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image
from werkzeug.test import TestResponse

from search_service.app import create_app
from search_service.engine.engine import Engine
from search_service.observability.metrics import Metrics
from search_service.settings import ServiceSettings
from tests.support.fakes import encoded, picture

_PNG = picture("blue", file_format="PNG")
_BASE64 = base64.b64encode(_PNG).decode()
_DIM = 8


def _file(data: bytes = _PNG) -> tuple[io.BytesIO, str]:
    return io.BytesIO(data), "query.png"


def _noise(side_px: int, file_format: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, size=(side_px, side_px, 3), dtype=np.uint8)
    return encoded(Image.fromarray(pixels), file_format)


def _post_json(client: FlaskClient, body: object, path: str = "/v1/search") -> TestResponse:
    """As clients send it: escaped, so null goes through too."""
    return client.post(path, data=json.dumps(body), content_type="application/json")


def _png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds nothing."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


# Options

_BAD_OPTIONS = [
    ("top_k", 0),
    ("top_k", -1),
    ("top_k", 1.5),
    ("top_k", True),
    ("top_k", "x"),
    ("top_k", ""),
    ("top_k", "1.0"),
    ("top_k", 51),
    ("top_k", 10**9),
    ("top_k", "9" * 5000),
    ("top_k", [1]),
    ("top_k", {}),
    ("probe", 0),
    ("probe", -1),
    ("probe", 2.5),
    ("probe", False),
    ("probe", "many"),
    ("probe", "AUTO"),
    ("probe", 10**12),
    ("probe", ["auto"]),
    ("min_score", 2),
    ("min_score", -1.01),
    ("min_score", float("nan")),
    ("min_score", float("inf")),
    ("min_score", "high"),
    ("min_score", ""),
    ("min_score", True),
    ("min_score", 10**400),
    ("min_score", [0.5]),
    ("offset", -1),
    ("offset", 1001),
    ("offset", 0.5),
    ("offset", "x"),
    ("filter", "brand"),
    ("filter", "[]"),
    ("filter", 5),
    ("filter", ["brand"]),
    ("group_by", ""),
    ("group_by", ["brand"]),
    ("collapse_above", 0),
    ("collapse_above", 1.01),
    ("collapse_above", "near"),
    ("on_unknown", ""),
    ("on_unknown", "EMPTY"),
    ("on_unknown", "none"),
    ("on_unknown", True),
    ("on_unknown", 0),
    ("on_unknown", ["empty"]),
    ("category", ""),
    ("category", 1),
    ("category", ["mugs"]),
]


@pytest.mark.parametrize(("name", "value"), _BAD_OPTIONS, ids=lambda one: str(one)[:20])
def test_a_bad_option_is_named_with_its_value(client, assert_error, name, value) -> None:
    message = assert_error(_post_json(client, {"item_id": "mug-1", name: value}), 400, "invalid_request")
    assert message.startswith(f"`{name}` is ")
    assert "; expected " in message or name == "filter"


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, value in _BAD_OPTIONS if not isinstance(value, bool | list | dict) and value != 1],
    ids=lambda one: str(one)[:20],
)
def test_a_bad_option_is_named_in_forms_and_query_strings_too(client, assert_error, name, value) -> None:
    for response in (
        client.post("/v1/search", data={"image": _file(), name: str(value)}),
        client.get("/v1/items/mug-1/similar", query_string={name: str(value)}),
    ):
        assert assert_error(response, 400, "invalid_request").startswith(f"`{name}` is ")


@pytest.mark.parametrize(
    "filters", [{"price": None}, {"price": {}}, {"price": {"gte": "x"}}, {"price": {"eq": 1}}, {"price": []}], ids=str
)
def test_a_bad_condition_is_named_with_its_field(client, assert_error, filters) -> None:
    for response in (
        _post_json(client, {"item_id": "mug-1", "filter": filters}),
        client.post("/v1/search", data={"image": _file(), "filter": json.dumps(filters)}),
        client.get("/v1/items/mug-1/similar", query_string={"filter": json.dumps(filters)}),
    ):
        assert assert_error(response, 400, "invalid_request").startswith("`filter` on 'price' ")


def test_a_filter_nested_too_deep_is_refused_quickly(client, assert_error) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    for response in (
        client.post("/v1/search", data={"image": _file(), "filter": f'{{"a": {deep}}}'}),
        client.post("/v1/search", data=f'{{"item_id": "a", "filter": {deep}}}', content_type="application/json"),
        client.post("/v1/search/batch", data=f'{{"queries": {deep}}}', content_type="application/json"),
    ):
        assert_error(response, 400, "invalid_request")


@pytest.mark.parametrize("probe", [2, "auto"])
def test_category_and_probe_exclude_each_other(client, assert_error, probe) -> None:
    response = _post_json(client, {"item_id": "mug-1", "category": "mugs", "probe": probe})
    assert "`category` and `probe`" in assert_error(response, 400, "invalid_request")


def test_an_option_given_twice_is_refused(client, assert_error) -> None:
    for response in (
        client.post("/v1/search", data={"image": _file(), "top_k": ["1", "2"]}),
        client.get("/v1/items/mug-1/similar?top_k=1&top_k=2"),
        client.get("/v1/items/mug-1/image?position=0&position=1"),
    ):
        assert "more than once" in assert_error(response, 400, "invalid_request")


# Bodies


@pytest.mark.parametrize("path", ["/v1/search", "/v1/classify"])
@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (b"", None),
        (b"", "text/plain"),
        (_PNG, "image/png"),
        (b"item_id=mug-1", "application/x-www-form-urlencoded"),
        (b'{"item_id": "mug-1"}', "application/xml"),
        (b'{"item_id": "mug-1"}', "no content type"),
    ],
)
def test_another_content_type_is_unsupported(client, assert_error, path, data, content_type) -> None:
    response = client.post(path, data=data, content_type=content_type)
    message = assert_error(response, 415, "unsupported_body")
    assert (content_type or "has no content type") in message
    assert "multipart/form-data" in message
    assert "application/json" in message


@pytest.mark.parametrize("path", ["/v1/search", "/v1/classify"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'item_id': 1}",
        b'{"item_id": "mug-1"} x',
        b"\xff\xfe\x00",
        b'{"item_id": "\xff"}',
        b"[" * 100_000,
        b'{"item_id": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b"9" * 5000,
        b'{"item_id": "\\ud800"}',
        b'{"\\udfff": 1}',
    ],
    ids=lambda body: repr(body[:20]),
)
def test_broken_json_is_refused(client, assert_error, path, body) -> None:
    message = assert_error(client.post(path, data=body, content_type="application/json"), 400, "invalid_request")
    assert message.startswith("the request body is not valid JSON: ")


@pytest.mark.parametrize(
    ("body", "kind"),
    [([], "array"), (["item_id"], "array"), ("item_id", "string"), (5, "number"), (None, "null"), (True, "boolean")],
)
def test_json_that_is_not_an_object_is_rejected(client, assert_error, body, kind) -> None:
    message = assert_error(_post_json(client, body), 400, "invalid_request")
    assert message == f"the request body is a JSON {kind}; expected an object"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"top_k": 3},
        {"item_id": None},
        {"image_base64": _BASE64, "item_id": "mug-1"},
        {"item_id": "mug-1", "embedding": [1.0] * _DIM},
        {"image_base64": _BASE64, "embedding": [1.0] * _DIM},
    ],
    ids=lambda body: "+".join(body),
)
def test_exactly_one_query_is_wanted(client, assert_error, body) -> None:
    message = assert_error(_post_json(client, body), 400, "invalid_request")
    for name in ("image_base64", "item_id", "embedding"):
        assert name in message


@pytest.mark.parametrize("field", ["topk", "image", "Item_id", ""])
def test_an_unknown_field_is_named(client, assert_error, field) -> None:
    message = assert_error(_post_json(client, {"item_id": "mug-1", field: 1}), 400, "invalid_request")
    assert repr(field) in message
    assert "top_k" in message


def test_an_unknown_field_of_a_form_or_query_string_is_named(client, assert_error) -> None:
    for response in (
        client.post("/v1/search", data={"image": _file(), "topk": "3"}),
        client.post("/v1/search", data={"image": _file(), "item_id": "mug-1"}),
        client.post("/v1/search", data={"image": _file(), "mask": _file()}),
        client.post("/v1/classify", data={"image": _file(), "top_k": "3"}),
        _post_json(client, {"image_base64": _BASE64, "top_k": 3}, "/v1/classify"),
        client.get("/v1/items/mug-1/similar?topk=3"),
        client.get("/v1/items/mug-1/image?width=3"),
    ):
        assert assert_error(response, 400, "invalid_request").startswith(("unknown ", "there is no "))


def test_a_form_wants_one_file(client, assert_error) -> None:
    for data, found, expected in (
        ({"top_k": "3"}, 0, "; expected 1, or the field `text`"),
        ({"image": "text, no file"}, 0, "; `image` is text; "),
        ({"image": [_file(), _file()]}, 2, "; expected 1"),
    ):
        response = client.post("/v1/search", data=data, content_type="multipart/form-data")
        message = assert_error(response, 400, "invalid_request")
        assert message.startswith(f"the form has {found} files in the field `image`{expected}")


def test_the_options_of_a_post_may_be_in_its_query_string(client) -> None:
    for response in (
        client.post("/v1/search?top_k=1&category=mugs", data={"image": _file()}),
        client.post("/v1/search?top_k=1", data={"image": _file(), "category": "mugs"}),
        client.post("/v1/search?top_k=1&category=mugs", json={"image_base64": _BASE64}),
        client.post("/v1/search/batch?top_k=1", json={"queries": [{"image_base64": _BASE64}], "category": "mugs"}),
        client.post("/v1/search/batch?top_k=1&category=mugs", data={"image": [_file(), _file()]}),
    ):
        assert response.status_code == 200, response.text
        for answer in response.json.get("results", [response.json]):
            assert len(answer["hits"]) == 1
            assert answer["searched"] == ["mugs"]


def test_a_query_of_a_batch_has_its_own_option_before_the_query_string(client) -> None:
    queries = [{"item_id": "mug-1", "top_k": 2}, {"item_id": "mug-1"}]
    results = client.post("/v1/search/batch?top_k=1", json={"queries": queries}).json["results"]
    assert [len(one["hits"]) for one in results] == [2, 1]


def test_an_option_in_the_query_string_of_a_post_is_checked(client, assert_error) -> None:
    for path, message in (
        ("/v1/search?probe=zzz", "`probe` is 'zzz'; expected"),
        ("/v1/search?topk=3", "unknown argument 'topk'; expected one of: "),
        ("/v1/search?top_k=1&top_k=2", "`top_k` was given more than once"),
        ("/v1/search?item_id=mug-1", "unknown argument 'item_id'"),
        ("/v1/classify?top_k=3", "unknown argument 'top_k'; expected none"),
        ("/v1/search/batch?probe=zzz", "`probe` is 'zzz'; expected"),
        ("/v1/search/batch?queries=1", "unknown argument 'queries'"),
    ):
        many = {"queries": [{"image_base64": _BASE64}]} if "batch" in path else {"image_base64": _BASE64}
        for response in (client.post(path, data={"image": _file()}), client.post(path, json=many)):
            assert assert_error(response, 400, "invalid_request").startswith(message)


def test_an_option_both_in_the_body_and_in_the_query_string_is_refused(client, assert_error) -> None:
    for response in (
        client.post("/v1/search?top_k=1", data={"image": _file(), "top_k": "1"}),
        client.post("/v1/search?top_k=1", json={"item_id": "mug-1", "top_k": 1}),
        client.post("/v1/search/batch?top_k=1", json={"queries": [{"item_id": "mug-1"}], "top_k": 1}),
    ):
        message = assert_error(response, 400, "invalid_request")
        assert message == "`top_k` was given more than once: in the body and in the query string"


@pytest.mark.parametrize(
    "path",
    ["/v1/status", "/v1/categories", "/v1/items/mug-1", "/v1/items/mug-1/similar", "/v1/items/mug-1/image"],
)
def test_a_get_takes_no_body_and_no_unknown_argument(client, assert_error, path) -> None:
    with closing(client.get(path)) as response:
        assert response.status_code == 200
    message = assert_error(client.get(f"{path}?x=1"), 400, "invalid_request")
    assert message.startswith("unknown argument 'x'; ")
    message = assert_error(client.get(path, json={"top_k": 1}), 400, "invalid_request")
    assert message == "GET takes no body; expected its options in the query string"


def test_health_checks_ignore_what_monitoring_adds(client) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert client.get(f"{path}?x=1").status_code == 200


def test_a_body_that_is_too_large_is_told_the_limit_of_its_route(client, assert_error) -> None:
    response = client.post("/v1/search", data=bytes(1_200_000), content_type="multipart/form-data; boundary=X")
    message = assert_error(response, 413, "image_too_large")
    assert "1,148,576 bytes that POST /v1/search accepts" in message
    assert "PARECIDO_MAX_UPLOAD_BYTES" in message
    body = {"queries": [{"image_base64": "A" * 10}], "category": "x" * 100_000_000}
    message = assert_error(client.post("/v1/search/batch", json=body), 413, "image_too_large")
    assert "POST /v1/search/batch" in message
    assert "PARECIDO_MAX_BATCH_BYTES" in message


_LONG = "x" * 500_000


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/search", {"item_id": _LONG}),
        ("/v1/search", {"item_id": "\U0001f45f" * 100_000}),
        ("/v1/search", {"item_id": "mug-1", "category": _LONG}),
        ("/v1/search", {"item_id": "mug-1", _LONG: 1}),
        ("/v1/search", {"item_id": "mug-1", "top_k": _LONG}),
        ("/v1/search", {"item_id": "mug-1", "top_k": [_LONG, [_LONG]]}),
        ("/v1/search", {"item_id": "mug-1", "top_k": {_LONG: {_LONG: 1}}}),
        ("/v1/search", {"item_id": "mug-1", "top_k": 10**4000}),
        ("/v1/search", {"item_id": "mug-1", "fields": ["a", [_LONG]]}),
        ("/v1/search", {"item_id": "mug-1", "filter": {_LONG: {}}}),
        ("/v1/search", {"item_id": "mug-1", "filter": {"a": {_LONG: 1}}}),
        ("/v1/search", {"item_id": "mug-1", "filter": {_LONG: {"gt": _LONG}}}),
        ("/v1/search", {"embedding": [1.0, _LONG]}),
        ("/v1/search", {"image_base64": "é" * 400_000}),
        ("/v1/search", {"image_url": "http://" + _LONG}),
        ("/v1/search/batch", {"queries": [{"item_id": _LONG}, {_LONG: 1}, _LONG, {"item_id": "a", "category": _LONG}]}),
        ("/v1/search/batch", {"queries": _LONG}),
    ],
    ids=lambda one: str(one)[:40],
)
def test_no_message_repeats_more_than_a_little_of_what_was_sent(client, path, body) -> None:
    response = _post_json(client, body, path)
    results = response.json.get("results", [response.json])
    for message in (one["error"]["message"] for one in results):
        assert len(message) < 500
        assert max(message.count(sign) for sign in "x0é👟") <= 200


def test_nor_do_those_of_forms_query_strings_and_headers(client) -> None:
    name = "x" * 50_000
    for response in (
        client.post("/v1/search", data={"image": _file(), name: "1"}),
        client.post("/v1/search", data={name: _file()}),
        client.post("/v1/search", data={"image": _file(), "category": name}),
        client.post("/v1/search", data={"image": _file(), "filter": name}),
        client.post("/v1/search", data=b"x", content_type=name),
        client.post("/v1/search", data=b"x", content_type="application/json", headers={"Content-Encoding": name}),
        client.get(f"/v1/items/{name}"),
        client.get(f"/v1/items/{name}/image"),
        client.get("/v1/items/mug-1", query_string={name: "1"}),
        client.get("/v1/items/mug-1/similar", query_string={"category": name}),
        client.get("/v1/items/mug-1/image", query_string={"position": name}),
        client.get(f"/{name}"),
        client.post(f"/v1/items/{name}"),
    ):
        assert response.status_code >= 400
        assert response.json["error"]["message"].count("x") <= 200


def test_a_form_without_a_boundary_is_refused(client, assert_error) -> None:
    response = client.post("/v1/search", data=b"--x", headers={"Content-Type": "multipart/form-data"})
    assert_error(response, 400, "invalid_request")


@pytest.mark.parametrize("value", [1, True, {}, [_BASE64], "a", "%%%%", "é" * 4, _BASE64[:-3]])
def test_bad_base64_is_refused(client, assert_error, value) -> None:
    message = assert_error(_post_json(client, {"image_base64": value}), 400, "invalid_request")
    assert "`image_base64`" in message


@pytest.mark.parametrize("value", ["", 1, True, [], {}, ["mug-1"]], ids=ascii)
def test_a_bad_item_id_is_refused(client, assert_error, value) -> None:
    assert "`item_id`" in assert_error(_post_json(client, {"item_id": value}), 400, "invalid_request")


@pytest.mark.parametrize(
    "value",
    [
        [],
        {},
        "1,2",
        5,
        [1.0] * (_DIM - 1),
        [1.0] * (_DIM + 1),
        [0] * _DIM,
        [[1.0] * _DIM],
        ["1"] * _DIM,
        [True] * _DIM,
        [1.0] * (_DIM - 1) + [None],
        [1.0] * (_DIM - 1) + [float("nan")],
        [1.0] * (_DIM - 1) + [float("-inf")],
        [1.0] * (_DIM - 1) + [10**400],
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_bad_embedding_is_refused(client, assert_error, value) -> None:
    for path in ("/v1/search", "/v1/classify"):
        response = _post_json(client, {"embedding": value}, path)
        assert "`embedding`" in assert_error(response, 422, "invalid_embedding")


def test_an_item_can_not_be_classified(client, assert_error) -> None:
    message = assert_error(_post_json(client, {"item_id": "mug-1"}, "/v1/classify"), 400, "invalid_request")
    assert "GET /v1/items/<id>" in message


# Images


@pytest.mark.parametrize("path", ["/v1/search", "/v1/classify"])
@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        pytest.param(b"", 415, "unsupported_image", id="empty"),
        pytest.param(b"this is text", 415, "unsupported_image", id="text"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "unsupported_image", id="svg"),
        pytest.param(b"\0\0\0\x18ftypheic" + bytes(60), 415, "unsupported_image", id="heic"),
        pytest.param(b"%PDF-1.7\n", 415, "unsupported_image", id="pdf"),
        pytest.param(_noise(200, "JPEG")[:9000], 422, "broken_image", id="truncated jpeg"),
        pytest.param(_noise(100, "PNG")[:9000], 422, "broken_image", id="truncated png"),
        pytest.param(_png_header(20_000, 20_000), 413, "image_too_large", id="400 megapixels"),
        pytest.param(_noise(200, "BMP"), 413, "image_too_large", id="too many bytes"),
        pytest.param(bytes(400_000), 413, "image_too_large", id="far too many bytes"),
    ],
)
def test_an_image_that_can_not_be_used_is_refused(client, assert_error, path, data, status, code) -> None:
    for response in (
        client.post(path, data={"image": _file(data)}),
        _post_json(client, {"image_base64": base64.b64encode(data).decode()}, path),
    ):
        assert_error(response, status, code)


def test_a_file_that_is_no_image_is_named_in_the_message(client, assert_error) -> None:
    response = client.post("/v1/search", data={"image": _file(b"<!DOCTYPE html><title>404</title>")})
    assert "can be read: it is an HTML page; expected one of JPEG, PNG" in assert_error(
        response, 415, "unsupported_image"
    )


def test_the_size_limits_are_in_the_message(client, assert_error) -> None:
    response = client.post("/v1/search", data={"image": _file(_noise(200, "BMP"))})
    assert "120,054 bytes; expected at most 100,000" in assert_error(response, 413, "image_too_large")
    response = client.post("/v1/search", data={"image": _file(_png_header(20_000, 20_000))})
    assert "400,000,000 pixels; at most 50,000,000" in assert_error(response, 413, "image_too_large")


@pytest.mark.parametrize("max_bytes", [100_000, 2_000_000])
def test_an_image_of_just_the_allowed_bytes_is_taken_in_base64_too(
    catalogue, watch_on, assert_error, max_bytes
) -> None:
    settings = ServiceSettings(max_upload_bytes=max_bytes)
    engine = Engine(catalogue.snapshot, settings.image_limits)
    client = create_app(watch_on(engine), settings, Metrics(0.98)).test_client()
    data = _noise(100, "BMP").ljust(max_bytes, b"\0")
    assert _post_json(client, {"image_base64": base64.b64encode(data).decode()}).status_code == 200
    response = _post_json(client, {"image_base64": base64.b64encode(data + b"\0").decode()})
    assert_error(response, 413, "image_too_large")


# What there is not


def test_an_unknown_item_is_named(client, assert_error) -> None:
    for response in (
        client.get("/v1/items/mug-2"),
        client.get("/v1/items/mug-2/similar"),
        client.get("/v1/items/mug-2/image"),
        _post_json(client, {"item_id": "mug-2"}),
    ):
        assert "'mug-2'" in assert_error(response, 404, "unknown_item")


def test_an_unknown_category_is_named(client, assert_error) -> None:
    for response in (
        _post_json(client, {"item_id": "mug-1", "category": "Mugs"}),
        client.post("/v1/search", data={"image": _file(), "category": "Mugs"}),
        client.get("/v1/items/mug-1/similar?category=Mugs"),
    ):
        assert "'Mugs'" in assert_error(response, 404, "unknown_category")


@pytest.mark.parametrize(
    ("position", "status", "code"),
    [
        ("2", 404, "image_not_found"),
        ("999999999", 404, "image_not_found"),
        ("-1", 400, "invalid_request"),
        ("", 400, "invalid_request"),
        ("1.0", 400, "invalid_request"),
        ("one", 400, "invalid_request"),
        ("²", 400, "invalid_request"),
        ("1" * 5000, 400, "invalid_request"),
    ],
)
def test_an_image_position_that_is_none_is_refused(client, assert_error, position, status, code) -> None:
    assert_error(client.get("/v1/items/%F0%9F%91%9F/image", query_string={"position": position}), status, code)


def test_an_image_that_has_gone_is_named(catalogue, watch_on, assert_error, tmp_path) -> None:
    engine = Engine(catalogue.snapshot, image_root=tmp_path)
    client = create_app(watch_on(engine), ServiceSettings(), Metrics(0.98)).test_client()
    assert "'mug-1'" in assert_error(client.get("/v1/items/mug-1/image"), 404, "image_not_found")


@pytest.mark.parametrize(
    "path", ["/nowhere", "/v1", "/v1/", "/v1/item", "/v2/search", "/v1/search/", "/v1/items/", "/v1//categories"]
)
def test_an_unknown_route_is_404(client, assert_error, path) -> None:
    assert_error(client.get(path), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/search", "POST"),
        ("PUT", "/v1/search", "POST"),
        ("GET", "/v1/classify", "POST"),
        ("POST", "/v1/categories", "GET"),
        ("DELETE", "/v1/items/mug-1", "GET"),
        ("POST", "/v1/items/mug-1/similar", "GET"),
        ("POST", "/healthz", "GET"),
        ("POST", "/readyz", "GET"),
    ],
)
def test_another_method_is_405_with_those_allowed(client, assert_error, method, path, allowed) -> None:
    response = client.open(path, method=method)
    assert_error(response, 405, "method_not_allowed")
    assert allowed in response.headers["Allow"].split(", ")


def test_a_message_is_valid_json_whatever_was_asked(client) -> None:
    response = _post_json(client, {"item_id": 'mug "2" </script> é 👟 \u0000'})
    assert json.loads(response.data)["error"]["code"] == "unknown_item"
