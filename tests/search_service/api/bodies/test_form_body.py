"""Multipart forms: the reason why one is refused, and what bounds its cost."""

import io
import tracemalloc

import pytest
from flask import Request
from werkzeug.test import EnvironBuilder

from search_service.api.bodies.body_limits import JSON_BYTES
from search_service.api.bodies.form_body import read_parts
from shared.errors import BodyTooLarge, InvalidRequest, UnsupportedBody

_KNOWN = ("top_k", "category")
_TYPE = "multipart/form-data; boundary=X"


def _read(body: bytes, content_type: str = _TYPE, most: int = 1, **headers: str) -> tuple[list[bytes], dict[str, str]]:
    builder = EnvironBuilder(method="POST", input_stream=io.BytesIO(body), content_type=content_type, headers=headers)
    builder.content_length = len(body)
    return read_parts(Request(builder.get_environ()), _KNOWN, most)


def _part(disposition: bytes, data: bytes = b"abc", further: bytes = b"") -> bytes:
    return b"--X\r\nContent-Disposition: form-data; %b\r\n%b\r\n%b\r\n" % (disposition, further, data)


_IMAGE = _part(b'name="image"; filename="a.png"', b"\x00\r\n--\xff--X")
_END = b"--X--\r\n"


def _refused(*body: bytes, **more: object) -> str:
    with pytest.raises(InvalidRequest) as caught:
        _read(b"".join(body), **more)
    assert len(str(caught.value)) < 400
    return str(caught.value)


@pytest.mark.parametrize("end", [b"--X--", _END, b"--X--\r\nepilogue", b"--X--  \r\n"])
@pytest.mark.parametrize("preamble", [b"", b"\r\n", b"preamble\r\n"])
def test_files_and_text_are_read(preamble, end) -> None:
    body = preamble + _IMAGE + _part(b'name="category"', "Hüte".encode()) + _part(b"name=top_k", b"") + end
    assert _read(body) == ([b"\x00\r\n--\xff--X"], {"category": "Hüte", "top_k": ""})


def test_a_file_that_comes_in_many_pieces_is_whole() -> None:
    data = (b"\r\n--XZ" + b"\r" * 70_000 + b"\n--Y") * 40
    assert _read(_part(b'name="image"; filename="a"', data) + _END)[0] == [data]


def test_text_may_say_its_charset() -> None:
    latin = _part(b'name="category"', "Hüte".encode("latin-1"), b"Content-Type: text/plain; charset=ISO-8859-1\r\n")
    assert _read(_IMAGE + latin + _END)[1] == {"category": "Hüte"}
    assert "UTF-8" in _refused(_IMAGE, _part(b'name="category"', b"H\xfcte"), _END)


# The true reason


@pytest.mark.parametrize("size", [3, 600_000, 2 * JSON_BYTES])
def test_an_image_that_came_as_text_is_said_to(size) -> None:
    message = _refused(_part(b'name="image"', b"A" * size), _END)
    assert "`image` is text" in message
    assert "curl -F image=@photo.jpg" in message
    assert "`image` is text" in _refused(_IMAGE, _part(b'name="image"'), _END)


@pytest.mark.parametrize("name", [b"file", b"photo", b"images[]", b"k" * 100_000])
def test_a_file_in_another_field_is_told_the_right_one(name) -> None:
    message = _refused(_part(b'name="%b"; filename="a.png"' % name), _END)
    assert message.startswith(f"unknown file field '{name[:20].decode()}")
    assert "expected the image file in the field `image`" in message


def test_an_option_that_came_as_a_file_is_named() -> None:
    assert "`top_k` is a file; expected text" in _refused(_IMAGE, _part(b'name="top_k"; filename="a"'), _END)


@pytest.mark.parametrize(("number", "most"), [(0, 1), (2, 1), (0, 3), (4, 3), (1100, 16)])
def test_the_number_of_files_is_told(number, most) -> None:
    message = _refused(_IMAGE * number, _END, most=most)
    files = "1 file" if number == 1 else f"{number} files"
    assert message.startswith(f"the form has {files} in the field `image`; expected {'1' if most == 1 else '1 to'}")


def test_an_unknown_field_and_one_given_twice_are_named() -> None:
    assert "unknown field 'mask'; expected one of: image, top_k, category" in _refused(
        _IMAGE, _part(b'name="mask"'), _END
    )
    assert "`top_k` was given more than once" in _refused(_IMAGE, _part(b"name=top_k") * 2, _END)


def test_text_of_more_than_the_bound_is_named() -> None:
    assert _read(_IMAGE + _part(b"name=category", b"x" * JSON_BYTES) + _END)
    for text in (
        _part(b"name=category", b"x" * (JSON_BYTES + 1)),
        _part(b"name=category", b"x" * JSON_BYTES) + _part(b"name=top_k", b"1"),
    ):
        with pytest.raises(BodyTooLarge, match=r"text fields .* have more than 1,048,576 bytes"):
            _read(_IMAGE + text + _END)


@pytest.mark.parametrize("parameters", ["", "; boundary=", '; boundary=""', "; charset=utf-8"])
def test_a_missing_boundary_is_named(parameters) -> None:
    assert "Content-Type has no boundary" in _refused(_IMAGE, _END, content_type=f"multipart/form-data{parameters}")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "is empty"),
        (b"--Y\r\n", "is empty"),
        (b"x" * 1_000_000, "does not begin"),
        (_IMAGE, "is incomplete"),
        (_IMAGE[:-10], "is incomplete"),
        (_IMAGE[:20], "is incomplete"),
        (b"--X\r\nContent-Type: image/png\r\n\r\nabc\r\n--X--", "Content-Disposition"),
        (b"--X\r\nContent-Disposition: \xff\r\n\r\nabc\r\n--X--", "Content-Disposition"),
        (_part(b'filename="a"') + _END, "without a name"),
        (_END, "the form has 0 files"),
    ],
)
def test_a_broken_form_is_told_what_is_broken(body, message) -> None:
    assert message in _refused(body)


def test_encoded_parts_and_bodies_are_refused_by_name() -> None:
    encoded = _part(b'name="image"; filename="a"', b"AAAA", b"Content-Transfer-Encoding: base64\r\n")
    assert "Content-Transfer-Encoding 'base64'" in _refused(encoded, _END)
    assert _read(encoded.replace(b"base64", b"binary") + _END)[0] == [b"AAAA"]
    with pytest.raises(UnsupportedBody, match="Content-Encoding 'gzip'"):
        _read(b"\x1f\x8b", **{"Content-Encoding": "gzip"})


# Bounds


@pytest.mark.parametrize(
    "body",
    [
        _IMAGE * 100_000,
        b"--X\r\n" + b"X-A: b\r\n" * 1_000_000,
        b"--X\r\nX-A: " + b"b" * 10_000_000,
        b"x" * 10_000_000,
        b"\r\n" * 5_000_000,
        b"--X \r" * 2_000_000,
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_no_file_is_not_kept(body) -> None:
    tracemalloc.start()
    try:
        _refused(body, most=16)
        assert tracemalloc.get_traced_memory()[1] < 5_000_000
    finally:
        tracemalloc.stop()
