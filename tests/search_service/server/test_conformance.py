"""Requests as RFC 9112 and RFC 9110 have them, well and badly made, byte by byte, and how each is answered.

Each case is sent on a connection of its own, whose sending side is closed then; the statuses are of all answers, in
their order. A request that two servers may see the end of differently is refused.
"""

from collections.abc import Iterator

import pytest

from tests.support.processes.http_server import HttpServer, http_server

_GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    with http_server(max_upload_bytes=1000, max_batch_bytes=1000) as server:
        yield server


def _post(*headers: bytes, body: bytes = b"", version: bytes = b"1.1") -> bytes:
    return b"\r\n".join([b"POST / HTTP/" + version, b"Host: x", *headers, b"", b""]) + body


def _chunked(body: bytes, *headers: bytes) -> bytes:
    return _post(b"Transfer-Encoding: chunked", *headers, body=body)


_CASES = {
    # RFC 9112, 2.2 and 3: the start line
    "a plain GET": (_GET, [200]),
    "an empty line in front": (b"\r\n" + _GET, [200]),
    "two empty lines in front": (b"\r\n\r\n" + _GET, [200]),
    "an empty line behind a body, then a request": (
        _post(b"Content-Length: 2", body=b"ab") + b"\r\n" + _GET,
        [200] * 2,
    ),
    "bare LF as line ends": (b"GET / HTTP/1.1\nHost: x\n\n", [200]),
    "no version": (b"GET /\r\nHost: x\r\n\r\n", [400]),
    "two spaces": (b"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", [400]),
    "a space in the target": (b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", [400]),
    "a control character in the target": (b"GET /\x01 HTTP/1.1\r\nHost: x\r\n\r\n", [400]),
    "another protocol": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", [400]),
    "the preface of HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [505]),
    "HTTP/2.0 in the line": (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", [505]),
    "HTTP/1.2": (b"GET / HTTP/1.2\r\nHost: x\r\n\r\n", [505]),
    "HTTP/0.9 in the line": (b"GET / HTTP/0.9\r\nHost: x\r\n\r\n", [505]),
    "a version in lower case": (b"GET / http/1.1\r\nHost: x\r\n\r\n", [400]),
    "a method that is not known": (b"BREW / HTTP/1.1\r\nHost: x\r\n\r\n", [405]),
    "a method in lower case is another one": (b"get / HTTP/1.1\r\nHost: x\r\n\r\n", [501]),
    "CONNECT": (b"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n\r\n", [501]),
    "TRACE": (b"TRACE / HTTP/1.1\r\nHost: x\r\n\r\n", [501]),
    "absolute form": (b"GET http://x/a?b=c HTTP/1.1\r\nHost: x\r\n\r\n", [200]),
    "absolute form without a path": (b"GET http://x HTTP/1.1\r\nHost: x\r\n\r\n", [200]),
    "absolute form of another scheme": (b"GET ftp://x/a HTTP/1.1\r\nHost: x\r\n\r\n", [400]),
    "neither path nor URL": (b"GET a HTTP/1.1\r\nHost: x\r\n\r\n", [400]),
    "a target of 25 KB": (b"GET /" + b"a" * 25_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", [414]),
    # RFC 9112, 3.2 and 5: fields
    "no Host": (b"GET / HTTP/1.1\r\n\r\n", [400]),
    "two Hosts": (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", [400]),
    "a space in front of the colon": (b"GET / HTTP/1.1\r\nHost : x\r\n\r\n", [400]),
    "a space in front of the first field": (b"GET / HTTP/1.1\r\n Host: x\r\n\r\n", [400]),
    "a folded field": (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: a\r\n b\r\n\r\n", [200]),
    "a field without a colon": (b"GET / HTTP/1.1\r\nHost: x\r\nabc\r\n\r\n", [400]),
    "a field without a name": (b"GET / HTTP/1.1\r\nHost: x\r\n: abc\r\n\r\n", [400]),
    "NUL in a field": (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: a\x00b\r\n\r\n", [400]),
    "a bare CR in a field": (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: a\rb\r\n\r\n", [400]),
    "101 fields": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * 100 + b"\r\n", [431]),
    "a field of 40 KB": (b"GET / HTTP/1.1\r\nHost: x\r\nX-A: " + b"a" * 40_000 + b"\r\n\r\n", [431]),
    # RFC 9112, 6: how long a body is
    "a length": (_post(b"Content-Length: 3", body=b"abc"), [200]),
    "no length, no body": (_post() + _GET, [200, 200]),
    "the same length twice": (_post(b"Content-Length: 3", b"Content-Length: 3", body=b"abc"), [200]),
    "the same length twice in a field": (_post(b"Content-Length: 3, 3", body=b"abc"), [200]),
    "two lengths": (_post(b"Content-Length: 3", b"Content-Length: 4", body=b"abcd"), [400]),
    "a length with a sign": (_post(b"Content-Length: +3", body=b"abc"), [400]),
    "a negative length": (_post(b"Content-Length: -1"), [400]),
    "a length in hexadecimal": (_post(b"Content-Length: 0x3", body=b"abc"), [400]),
    "a length of 30 digits": (_post(b"Content-Length: " + b"9" * 30), [400]),
    "a length with zeros in front": (_post(b"Content-Length: 0003", body=b"abc"), [200]),
    "a length and chunks": (_chunked(b"0\r\n\r\n", b"Content-Length: 5"), [400]),
    "chunks and HTTP/1.0": (_post(b"Transfer-Encoding: chunked", body=b"0\r\n\r\n", version=b"1.0"), [400]),
    "a coding that is not known": (_post(b"Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), [501]),
    "a coding that is not one": (_post(b"Transfer-Encoding: xchunked", body=b"0\r\n\r\n"), [501]),
    "chunked twice": (_post(b"Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"), [501]),
    "a tab in front of chunked": (_post(b"Transfer-Encoding:\tchunked", body=b"0\r\n\r\n"), [200]),
    "a coding by a name with a space": (_post(b"Transfer-Encoding : chunked", body=b"0\r\n\r\n"), [400]),
    "a body that is incomplete": (_post(b"Content-Length: 10", body=b"abc"), [400]),
    # RFC 9112, 7: chunks
    "chunks": (_chunked(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"), [200]),
    "chunks, sizes in upper case and with zeros": (_chunked(b"0A\r\n0123456789\r\n0\r\n\r\n"), [200]),
    "a last chunk of many zeros": (_chunked(b"3\r\nabc\r\n000\r\n\r\n"), [200]),
    "extensions": (_chunked(b'3;a=b;c="d"\r\nabc\r\n0;ext\r\n\r\n'), [200]),
    "trailers": (_chunked(b"3\r\nabc\r\n0\r\nX-A: b\r\nX-B: c\r\n\r\n"), [200]),
    "a last chunk within a chunk": (_chunked(b"9\r\n{\r\n0\r\n\r\n}\r\n0\r\n\r\n"), [200]),
    "a last chunk within a chunk that does not end": (_chunked(b"fffff\r\n{\r\n0\r\n\r\n"), [400]),
    "the end of chunks as data": (_chunked(b"5\r\n0\r\n\r\n\r\n0\r\n\r\n"), [200]),
    "a request behind chunks": (_chunked(b"0\r\n\r\n") + _GET, [200, 200]),
    "a chunk size that is not a number": (_chunked(b"xyz\r\nabc\r\n0\r\n\r\n"), [400]),
    "a negative chunk size": (_chunked(b"-3\r\nabc\r\n0\r\n\r\n"), [400]),
    "a chunk size of 0x3": (_chunked(b"0x3\r\nabc\r\n0\r\n\r\n"), [400]),
    "a chunk size of 30 digits": (_chunked(b"f" * 30 + b"\r\nabc"), [400]),
    "a chunk that is longer than it says": (_chunked(b"3\r\nabcd\r\n0\r\n\r\n"), [400]),
    "chunks without an end": (_chunked(b"3\r\nabc\r\n"), [400]),
    "3,000 chunks of a byte": (_chunked(b"1\r\na\r\n" * 3000 + b"0\r\n\r\n"), [400]),
    # RFC 9112, 9: connections
    "requests in a row": (_GET * 5, [200] * 5),
    "close": (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" + _GET, [200]),
    "Close, among others": (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: foo, Close\r\n\r\n" + _GET, [200]),
    "HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n" + _GET, [200]),
    "HTTP/1.0, to be kept": (b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", [200]),
    "nothing behind a bad request is answered": (b"GET / HTTP/9\r\n\r\n" + _GET, [400]),
    "an upgrade that is not taken": (
        b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
        [200],
    ),
    # RFC 9110, 10.1.1: Expect
    "Expect: 100-continue": (_post(b"Content-Length: 3", b"Expect: 100-continue", body=b"abc"), [200]),
    "Expect in upper case": (_post(b"Content-Length: 3", b"Expect: 100-CONTINUE", body=b"abc"), [200]),
    "another expectation": (_post(b"Content-Length: 3", b"Expect: wonders", body=b"abc"), [417]),
    # RFC 9110, 9.3.2: HEAD
    "HEAD": (b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", [200]),
    "HEAD that is refused": (b"HEAD / HTTP/1.1\r\nHost: x\r\nExpect: wonders\r\n\r\n", [417]),
    "a body that is longer than may be": (_post(b"Content-Length: 999999999999"), [413]),
    "chunks that are longer than may be": (_chunked(b"ffffffff\r\n" + b"a" * 400_000), [413]),
}


@pytest.mark.parametrize(("sent", "wanted"), _CASES.values(), ids=_CASES)
def test_a_request_is_answered_as_the_standard_has_it(server, sent, wanted) -> None:
    assert [status for status, _, _ in server.send(sent)] == wanted


@pytest.mark.parametrize(
    ("sent", "wanted"), [case for case in _CASES.values() if case[1][0] >= 400 and not case[0].startswith(b"HEAD")]
)
def test_an_error_of_http_is_like_all_others(server, sent, wanted) -> None:
    if wanted[0] == 405:
        return  # the application's own answer
    status, headers, body = server.send(sent)[0]
    assert status == wanted[0]
    assert set(body["error"]) == {"code", "message", "request_id"}
    assert body["error"]["request_id"] == headers["X-Request-ID"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Connection" not in headers or headers["Connection"] == "close"


def test_the_code_of_an_error_is_the_same_in_every_version_of_python(server) -> None:
    [(status, _, body)] = server.send(_CASES["a target of 25 KB"][0])
    assert (status, body["error"]["code"]) == (414, "uri_too_long")


@pytest.mark.parametrize("sent", [b"x" * 5000 + b"\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"x" * 5000 + b"\r\n\r\n"])
def test_an_error_repeats_little_of_what_was_sent(server, sent) -> None:
    [(status, _, body)] = server.send(sent)
    assert status == 400
    assert body["error"]["message"].count("x") <= 200


def test_what_was_sent_is_what_the_application_sees(server) -> None:
    sent = b"POST /a%2Fb/c?d=%C3%A9&e HTTP/1.1\r\nHost: x\r\nX-A: b\r\nX-A: c\r\nX_A: d\r\nContent-Type: a/b\r\n"
    [(_, _, seen)] = server.send(
        sent + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x\r\nde\r\n0\r\nX-T: y\r\n\r\n"
    )
    assert (seen["method"], seen["path"], seen["target"]) == ("POST", "/a/b/c", "/a%2Fb/c?d=%C3%A9&e")
    assert (seen["query"], seen["n_bytes"]) == ("d=%C3%A9&e", 5)
    assert seen["headers"]["X-A"] == "b,c"
    assert seen["headers"]["Content-Type"] == "a/b"
    assert seen["headers"]["Content-Length"] == "5"
    assert not {"Transfer-Encoding", "X-T", "Expect"} & set(seen["headers"])


def test_a_head_has_no_body_and_the_length_of_one(server) -> None:
    [(_, headers, body)] = server.send(b"HEAD /x HTTP/1.1\r\nHost: x\r\n\r\n")
    assert int(headers["Content-Length"]) > 0
    assert body == b"" or body is None


def test_every_answer_has_a_date_and_no_version_of_the_server(server) -> None:
    for sent in (_GET, b"GET\r\n\r\n"):
        [(_, headers, _)] = server.send(sent)
        assert headers["Date"].endswith(" GMT")
        assert headers["Server"] == "parecido"
