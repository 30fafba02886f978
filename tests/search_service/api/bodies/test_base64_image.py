"""Base64 in the ways that clients write it."""

import base64
import random

import pytest

from search_service.api.bodies.base64_image import decode_base64
from shared.errors import InvalidRequest

_DATA = random.Random(0).randbytes(1000)
_TEXT = base64.b64encode(_DATA)
_LARGE = random.Random(1).randbytes(3 * 1024 * 1024 + 1)
_LARGE_TEXT = base64.b64encode(_LARGE)


@pytest.mark.parametrize(
    "text",
    [
        _TEXT,
        _TEXT.rstrip(b"="),
        _TEXT + b"\n",
        b" \t" + _TEXT,
        base64.encodebytes(_DATA),
        base64.encodebytes(_DATA).replace(b"\n", b"\r\n"),
        base64.urlsafe_b64encode(_DATA),
        base64.urlsafe_b64encode(_DATA).rstrip(b"="),
        b"data:image/jpeg;base64," + _TEXT,
        b"DATA:image/png;charset=utf-8;BASE64," + _TEXT,
        b"data:;base64,\n" + base64.encodebytes(_DATA),
    ],
    ids=lambda text: repr(text[:24]),
)
def test_it_is_read_however_it_is_written(text) -> None:
    assert decode_base64(text) == decode_base64(memoryview(text)) == _DATA


def test_large_text_is_decoded_whole() -> None:
    assert decode_base64(_LARGE_TEXT) == _LARGE
    assert decode_base64(base64.encodebytes(_LARGE)) == _LARGE


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"AAAA%AAA", "unexpected '%' at character 4"),
        (b"data:image/png;base64,AA*A", "unexpected '*' at character 24"),
        (b"AA==AAAA", "unexpected '=' at character 2"),
        ("AAAé".encode(), "unexpected 'é' at character 3"),
        (b"A", "1 characters without padding"),
        (_LARGE_TEXT[:-1].replace(b"=", b"") + b"!", f"unexpected '!' at character {len(_LARGE_TEXT.rstrip(b'='))}"),
        (_LARGE_TEXT[: 1024 * 1024 - 2] + b"==" + _LARGE_TEXT, f"unexpected '=' at character {1024 * 1024 - 2}"),
        (b"data:image/svg+xml,<svg/>", "is a data URL that is not base64"),
    ],
    ids=lambda one: repr(one[:30]),
)
def test_what_is_wrong_is_said_with_its_place(text, message) -> None:
    for given in (text, memoryview(text)):
        with pytest.raises(InvalidRequest, match=r"^`image_base64` is ") as caught:
            decode_base64(given)
        assert message in str(caught.value)
        assert len(str(caught.value)) < 200
