"""JSON bodies: what is read of them, and what bounds their cost."""

import base64
import json
import tracemalloc

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from search_service.api.bodies.body_limits import JSON_BYTES
from search_service.api.bodies.json_body import MAX_QUERY_VALUES, parse_json, read_json
from search_service.api.bodies.json_images import Base64Image
from shared.errors import BodyTooLarge, InvalidRequest, UnsupportedBody

_IMAGE = bytes(range(256)) * 20_000
_TEXT = base64.b64encode(_IMAGE)


def _request(data: bytes, content_type: str = "application/json", **headers: str) -> Request:
    builder = EnvironBuilder(method="POST", data=data, content_type=content_type, headers=headers)
    return Request(builder.get_environ())


def _image(value: object) -> bytes:
    assert isinstance(value, Base64Image)
    return value.decode()


# Images


@pytest.mark.parametrize(
    "body",
    [
        b'{"image_base64":"%b","top_k":3}' % _TEXT,
        b'{ "top_k" : 3 , "image_base64"\n:\t"%b" }' % _TEXT,
        b'\xef\xbb\xbf{"a\\"b": "\\\\", "top_k": 3, "image_base64": "%b"}' % _TEXT,
        b'{"image_base64":"%b","top_k":3}' % _TEXT.replace(b"/", rb"\/"),
        b'{"image_base64":"%b","top_k":3}' % _TEXT.replace(b"/", rb"\u002F").replace(b"+", rb"\u002b"),
        json.dumps({"image_base64": base64.encodebytes(_IMAGE).decode(), "top_k": 3}).encode(),
        json.dumps({"image_base64": "data:image/png;base64," + _TEXT.decode(), "top_k": 3}).encode(),
    ],
    ids=lambda body: repr(body[:30]),
)
def test_an_image_is_found_and_the_other_fields_beside_it(body) -> None:
    fields = read_json(_request(body))
    assert _image(fields["image_base64"]) == _IMAGE
    assert fields["top_k"] == 3


def test_a_short_image_is_text() -> None:
    assert read_json(_request(b'{"image_base64": "AAAA"}')) == {"image_base64": "AAAA"}


def test_each_query_has_its_own_image() -> None:
    others = [base64.b64encode(bytes([number]) * 9000).decode() for number in range(3)]
    body = {"queries": [{"image_base64": one} for one in others] + [{"item_id": "a"}, {"image_base64": "image 0"}]}
    queries = read_json(_request(json.dumps(body).encode()), n_queries=16)["queries"]
    assert [_image(one["image_base64"]) for one in queries[:3]] == [bytes([number]) * 9000 for number in range(3)]
    assert queries[3:] == [{"item_id": "a"}, {"image_base64": "image 0"}]


def test_what_only_looks_like_an_image_is_left_alone() -> None:
    text = "A" * 5000
    for value in (
        {"item_id": f'"image_base64":"{text}"'},
        {"item_id": "image_base64", "category": text},
        {"fields": ["image_base64", text]},
        {'x"image_base64': text},
    ):
        assert read_json(_request(json.dumps(value).encode())) == value


def test_an_image_takes_no_copy_of_its_text() -> None:
    body = b'{"image_base64":"%b"}' % base64.b64encode(bytes(12_000_000))
    tracemalloc.start()
    try:
        parse_json(body)["image_base64"].decode()
        assert tracemalloc.get_traced_memory()[1] < 15_000_000
    finally:
        tracemalloc.stop()


# Bounds


@pytest.mark.parametrize(
    "piece", [b"1,", b"0.1,", b"[],", b"{},", b'{"":0},', b'"",', b'"\\"",', b"[[[[]]]],", b" ", b'"\xf0\x9f\x98\x80",']
)
@pytest.mark.parametrize("start", [b'{"embedding":[', b'{"image_base64":"AAAA","filter":['])
def test_a_large_body_without_a_large_image_is_refused_before_it_is_a_tree(piece, start) -> None:
    body = start + piece * (20_000_000 // len(piece)) + b"0]}"
    tracemalloc.start()
    try:
        with pytest.raises((BodyTooLarge, InvalidRequest), match="the limit of this route"):
            parse_json(body)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_the_rest_of_a_body_is_not_read_once_it_is_too_large() -> None:
    request = _request(b'{"embedding":[' + b"1," * 5_000_000 + b"1]}")
    with pytest.raises(BodyTooLarge, match="1,048,576 bytes"):
        read_json(request)
    assert request.stream.tell() < 2 * JSON_BYTES


def test_the_json_beside_an_image_is_bounded() -> None:
    read_json(_request(b'{"image_base64":"%b","category":"%b"}' % (_TEXT, b"x" * 1_000_000)))
    with pytest.raises(BodyTooLarge):
        read_json(_request(b'{"image_base64":"%b","category":"%b"}' % (_TEXT, b"x" * JSON_BYTES)))


def test_the_number_of_values_is_bounded_and_grows_with_the_batch() -> None:
    most = json.dumps({"embedding": [1] * (MAX_QUERY_VALUES - 1)}).encode()
    more = json.dumps({"embedding": [1] * (3 * MAX_QUERY_VALUES)}).encode()
    read_json(_request(most))
    read_json(_request(more), n_queries=3)
    with pytest.raises(InvalidRequest, match="more than 10,000 JSON values"):
        read_json(_request(more))


# What is not JSON


@pytest.mark.parametrize(
    "body",
    [
        b'{"a": ' + b"9" * 500_000 + b"}",
        b'{"a": 1e' + b"9" * 500_000 + b"x}",
        b'{"a": "\\ud800"}',
        b'{"a": "\\udc00\\ud800"}',
        b'{"' + b"k" * 1_000_000,
        b'{"a": ' + b"[" * 500_000,
        b'{"a": ' + b'{"a":' * 2_000,
        b'{"a": "\xff"}',
        b'{"a": NaN',
        b'{"a": nan}',
        b'{"a": 01}',
        b'{"a": 1,}',
        b"{} {}",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_broken_json_is_refused_in_few_words(body) -> None:
    with pytest.raises(InvalidRequest, match=r"^the request body is not valid JSON: ") as caught:
        read_json(_request(body))
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be"])
def test_other_encodings_than_utf_8_are_named(encoding) -> None:
    with pytest.raises(InvalidRequest, match="UTF-16 or UTF-32; expected UTF-8"):
        read_json(_request('{"item_id": "a"}'.encode(encoding)))


@pytest.mark.parametrize(
    "body",
    [
        b'{"top_k": 1, "top_k": 2}',
        b'{"top_k": 1, "top\\u005fk": 1}',
        b'{"queries": [{"a": 1, "a": 1}]}',
        b'{"image_base64": "%b", "image_base64": "%b"}' % (_TEXT, _TEXT),
    ],
    ids=lambda body: repr(body[:40]),
)
def test_a_name_given_twice_is_refused(body) -> None:
    with pytest.raises(InvalidRequest, match="was given more than once"):
        read_json(_request(body))


def test_a_long_name_given_twice_is_shortened() -> None:
    name = b'"%b": 1' % (b"k" * 100_000)
    with pytest.raises(InvalidRequest) as caught:
        read_json(_request(b"{%b, %b}" % (name, name)))
    assert len(str(caught.value)) < 200


# Content types


@pytest.mark.parametrize(
    "content_type",
    [
        "application/json",
        "APPLICATION/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="ISO-8859-1"',
        "application/vnd.shop+json",
        "application/ld+json; profile=x",
    ],
)
def test_json_has_several_content_types(content_type) -> None:
    assert read_json(_request(b'{"item_id": "\xc3\xa9"}', content_type)) == {"item_id": "é"}


@pytest.mark.parametrize("content_type", ["text/json", "application/jsonp", "application/", "text/x+json", "x" * 5000])
def test_other_content_types_are_refused(content_type) -> None:
    with pytest.raises(UnsupportedBody) as caught:
        read_json(_request(b"{}", content_type))
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "GZIP, identity", "x" * 5000])
def test_a_compressed_body_is_refused_by_name(encoding) -> None:
    with pytest.raises(UnsupportedBody, match="Content-Encoding") as caught:
        read_json(_request(b"\x1f\x8b", **{"Content-Encoding": encoding}))
    assert encoding.lower()[:20] in str(caught.value)
    assert len(str(caught.value)) < 300


def test_the_identity_is_no_encoding() -> None:
    assert read_json(_request(b'{"a": 1}', **{"Content-Encoding": "Identity"})) == {"a": 1}
