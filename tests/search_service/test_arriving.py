"""When a request is whole, however its bytes are cut."""

import pytest

from search_service.arriving import MAX_HEAD_BYTES, ArrivingRequest

_GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
_POST = b"POST /v1/search HTTP/1.1\r\nHost: x\r\ncontent-LENGTH:  5 \r\n\r\nabcde"
_CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
_NO_CHUNKS = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"


def _fed(*pieces: bytes, max_body_bytes: int = 1000) -> ArrivingRequest:
    request = ArrivingRequest(max_body_bytes)
    for piece in pieces:
        request.add(piece)
    return request


@pytest.mark.parametrize("whole", [_GET, _POST, _CHUNKED, _NO_CHUNKS])
def test_it_is_whole_with_its_last_byte_and_not_before(whole) -> None:
    request = _fed()
    for position in range(len(whole)):
        assert not request.is_whole
        request.add(whole[position : position + 1])
        assert len(request) == position + 1
    assert request.is_whole
    assert request.take() == (whole, b"")


@pytest.mark.parametrize("first", [_GET, _POST])
def test_what_comes_behind_is_kept_apart(first) -> None:
    assert _fed(first + _POST[:20]).take() == (first, _POST[:20])
    assert _fed(first[:-1], first[-1:] + _GET).take() == (first, _GET)


def test_nothing_is_not_whole() -> None:
    assert not _fed().is_whole
    assert not _fed(b"").is_whole


@pytest.mark.parametrize("version", [b"1.1", b"1.0"])
def test_a_client_that_wants_to_be_told_to_go_on_is_told_once(version) -> None:
    head = b"POST / HTTP/" + version + b"\r\nExpect: 100-Continue\r\nContent-Length: 3\r\nX: y\r\n\r\n"
    request = _fed(head)
    assert request.wants_continue is (version == b"1.1")
    assert not request.is_whole
    request.add(b"abc")
    without = head.replace(b"Expect: 100-Continue\r\n", b"")
    assert request.take() == (without + b"abc", b"")


def test_a_client_that_did_not_wait_is_not_told_to_go_on() -> None:
    request = _fed(b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc")
    assert not request.wants_continue
    assert request.is_whole


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"])
def test_a_body_that_is_too_long_is_not_waited_for(expect) -> None:
    request = _fed(b"POST / HTTP/1.1\r\n" + expect + b"Content-Length: 11\r\n\r\nabc", max_body_bytes=10)
    assert request.is_whole
    assert not request.wants_continue
    assert request.take() == (b"POST / HTTP/1.1\r\nContent-Length: 11\r\n\r\nabc", b"")


def test_chunks_without_end_are_not_collected_without_end() -> None:
    request = _fed(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", max_body_bytes=1000)
    while not request.is_whole:
        request.add(b"5\r\nabcde\r\n")
    assert 1000 < len(request) < 1100


def test_a_head_without_end_is_not_collected_without_end() -> None:
    request = _fed(b"GET / HTTP/1.1\r\n")
    while not request.is_whole:
        request.add(b"X: y\r\n" * 1000)
    assert MAX_HEAD_BYTES < len(request) < MAX_HEAD_BYTES + 10_000
    assert request.take()[1] == b""
