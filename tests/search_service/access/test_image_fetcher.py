"""Fetching by URL: which addresses, whatever names and redirects say, and servers that are slow, large or lie.

Real servers on loopback answer, so the fetcher under test is told that loopback may be connected to; everything else is
as it runs.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from search_service.access import host_resolution
from search_service.access.fetch_budget import FetchBudget
from search_service.access.host_resolution import _N_RESOLVERS, is_public_address, resolve_host
from search_service.access.image_fetcher import FETCHES, ImageFetcher, fetch_all
from shared.errors import ImageNotFetched, ImageTooLarge, InvalidRequest, Overloaded, UrlNotAllowed
from tests.support.processes.certificates import certify

_OK = b"HTTP/1.1 200 OK\r\n"
_IMAGE = b"the bytes of an image"


class _Server:
    """Answers each connection by a function of its socket, and keeps what was asked."""

    def __init__(self, answer: Callable[[socket.socket], None], tls: ssl.SSLContext | None = None) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.asked: list[bytes] = []
        self._answer = answer
        self._tls = tls
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._one, args=(connection,), daemon=True).start()

    def _one(self, connection: socket.socket) -> None:
        try:
            if self._tls is not None:
                connection = self._tls.wrap_socket(connection, server_side=True)
            with connection:
                self.asked.append(connection.recv(65_536))
                self._answer(connection)
        except OSError:
            connection.close()

    def close(self) -> None:
        self._listening.close()


@pytest.fixture
def serve() -> Iterator[Callable[..., _Server]]:
    servers: list[_Server] = []

    def start(answer: bytes | Callable[[socket.socket], None], tls: ssl.SSLContext | None = None) -> _Server:
        servers.append(_Server(answer if callable(answer) else lambda to: to.sendall(answer), tls))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


def _fetcher(server: _Server | None = None, *hosts: str, max_bytes: int = 1000) -> ImageFetcher:
    """Takes loopback for public, and the server's port for that of both schemes."""
    port = server.port if server is not None else 1
    return ImageFetcher(
        hosts or ("*",),
        max_bytes,
        is_allowed_address=lambda address: address == "127.0.0.1" or is_public_address(address),
        resolve=lambda _host, _port: ["127.0.0.1"],
        ports={"http": port, "https": port}.get,
    )


def _budget(seconds: float = 5.0, max_bytes: int = 10_000) -> FetchBudget:
    return FetchBudget(time.monotonic() + seconds, max_bytes)


def _with_body(body: bytes, *headers: str) -> bytes:
    return _OK + "".join(f"{header}\r\n" for header in headers).encode() + b"\r\n" + body


def _redirect(to: str) -> bytes:
    return f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode()


@pytest.mark.parametrize(
    "answer",
    [
        _with_body(_IMAGE, f"Content-Length: {len(_IMAGE)}"),
        _with_body(_IMAGE),
        _with_body(b"%x\r\n%s\r\n0\r\n\r\n" % (len(_IMAGE), _IMAGE), "Transfer-Encoding: chunked"),
        _with_body(_IMAGE, "Content-Type: text/html", "Set-Cookie: a=b"),
    ],
)
def test_what_lies_there_is_fetched(serve, answer: bytes) -> None:
    server = serve(answer)
    budget = _budget()
    assert _fetcher(server).fetch("http://shop.example/a/b.jpg?size=1#part", budget) == _IMAGE
    assert budget.bytes_left == 10_000 - len(_IMAGE)
    [asked] = server.asked
    first, *headers = asked.decode().split("\r\n")
    assert first == "GET /a/b.jpg?size=1 HTTP/1.1"
    assert [header for header in headers if header] == [
        "Host: shop.example",
        "User-Agent: parecido",
        "Accept: image/*",
        "Accept-Encoding: identity",
        "Connection: close",
    ]


# Which addresses


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946"])
def test_public_addresses(address: str) -> None:
    assert is_public_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0", "0.1.2.3", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1",
        "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "224.0.0.1", "239.1.1.1", "240.0.0.1",
        "255.255.255.255", "::", "::1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b::808:808", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:7f00:1::", "2001:db8::1", "2002:7f00:1::",
        "2002:a00:1::1", "2002:808:808::", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%1", "fec0::1", "ff02::1",
    ],
)  # fmt: skip
def test_all_others_are_not_connected_to(address: str) -> None:
    assert not is_public_address(address)
    connected = replace(_fetcher(), is_allowed_address=is_public_address, resolve=lambda *_: [address])
    with pytest.raises(ImageNotFetched):
        connected.fetch("http://shop.example/", _budget())


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "127.1", "[::1]", "[::ffff:127.0.0.1]", "localhost", "0"],
)
def test_loopback_in_every_way_of_writing_it_is_not_connected_to(serve, host: str) -> None:
    server = serve(_with_body(_IMAGE))
    ports = {"http": server.port}.get
    fetcher = ImageFetcher(("*",), 1000, ports=ports)  # resolves for real
    with pytest.raises(ImageNotFetched):
        fetcher.fetch(f"http://{host}/", _budget())
    assert server.asked == []
    if "." in host.strip("[]") and ":" not in host:  # the way above does lead there
        loose = replace(fetcher, is_allowed_address=lambda _: True)
        assert loose.fetch(f"http://{host}/", _budget()) == _IMAGE
        assert resolve_host(host, 80) == ["127.0.0.1"]


def test_one_address_that_is_private_among_others_is_enough(serve) -> None:
    server = serve(_with_body(_IMAGE))
    fetcher = replace(_fetcher(server), resolve=lambda *_: ["127.0.0.1", "10.0.0.1"])
    with pytest.raises(ImageNotFetched):
        fetcher.fetch("http://shop.example/", _budget())
    assert server.asked == []


def test_a_name_is_resolved_once_so_it_can_not_lead_elsewhere_the_second_time(serve) -> None:
    server = serve(_with_body(_IMAGE))
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])
    fetcher = replace(_fetcher(server), resolve=lambda *_: next(answers))
    assert fetcher.fetch("http://shop.example/", _budget()) == _IMAGE
    assert next(answers) == ["10.0.0.1"]


# Which URLs


@pytest.mark.parametrize(
    "url",
    [
        "ftp://shop.example/a", "file:///etc/passwd", "gopher://shop.example/", "data:image/png;base64,AAAA",
        "http://shop.example:8080/", "http://shop.example:22/", "https://shop.example:80/",
        "http://user@shop.example/", "http://user:word@shop.example/", "http://@shop.example/",
        "http://other.example/", "http://shop.example.evil.example/", "http://evilshop.example/", "http://cdn.example/",
    ],
)  # fmt: skip
def test_urls_that_are_not_allowed(url: str) -> None:
    fetcher = ImageFetcher(("shop.example", "*.cdn.example"), 1000, resolve=lambda *_: pytest.fail("it was resolved"))
    with pytest.raises((UrlNotAllowed, InvalidRequest)):
        fetcher.fetch(url, _budget())


@pytest.mark.parametrize(
    "url",
    ["", "x", "//shop.example/", "http://", "http:///a", "http://[::1", "http://shop.example:x/", "http://shop.example/ä",
     "http://shop.example/a b", "http://shop.example/\r\nX: y", "http://shop.example\\@evil.example/",
     "http://shop.example/" + "a" * 3000],
)  # fmt: skip
def test_what_is_no_url(url: str) -> None:
    with pytest.raises((InvalidRequest, UrlNotAllowed)):
        _fetcher().fetch(url, _budget())


@pytest.mark.parametrize("url", ["http://a.cdn.example/", "http://A.B.CDN.Example./x", "http://shop.example"])
def test_hosts_of_the_list_in_any_case(serve, url: str) -> None:
    server = serve(_with_body(_IMAGE))
    assert _fetcher(server, "shop.example", "*.cdn.example").fetch(url, _budget()) == _IMAGE


# Redirects


def test_redirects_are_followed_and_checked_each(serve) -> None:
    steps = iter([_redirect("/b"), _redirect("//cdn.example/c"), _redirect("d?e=f"), _with_body(_IMAGE)])
    server = serve(lambda to: to.sendall(next(steps)))
    assert _fetcher(server, "shop.example", "cdn.example").fetch("http://shop.example/a", _budget()) == _IMAGE
    paths = [asked.split(b" ")[1] for asked in server.asked]
    assert paths == [b"/a", b"/b", b"/c", b"/d?e=f"]
    assert b"Host: cdn.example\r\n" in server.asked[-1]


@pytest.mark.parametrize(
    "to",
    ["http://10.0.0.1/", "http://other.example/", "http://shop.example:22/", "file:///etc/passwd", "http://u@shop.example/",
     "http://shop.example/a b", "ftp://shop.example/"],
)  # fmt: skip
def test_redirects_lead_nowhere_else(serve, to: str) -> None:
    server = serve(_redirect(to))
    with pytest.raises(ImageNotFetched, match=r"^`image_url` could not be fetched") as caught:
        _fetcher(server, "shop.example").fetch("http://shop.example/", _budget())
    assert len(server.asked) == 1
    assert "10.0.0.1" not in str(caught.value)


def test_a_redirect_to_a_name_that_is_private_leads_nowhere(serve) -> None:
    server = serve(_redirect("http://inside.example/"))
    fetcher = replace(
        _fetcher(server), resolve=lambda host, _: ["192.168.0.1" if host == "inside.example" else "127.0.0.1"]
    )
    with pytest.raises(ImageNotFetched):
        fetcher.fetch("http://shop.example/", _budget())
    assert len(server.asked) == 1


def test_a_loop_of_redirects_ends(serve) -> None:
    server = serve(_redirect("/again"))
    with pytest.raises(ImageNotFetched):
        _fetcher(server).fetch("http://shop.example/", _budget())
    assert len(server.asked) == 4


# Servers that mean harm


@pytest.mark.parametrize(
    "answer",
    [
        _with_body(b"x" * 1001),
        _with_body(b"x" * 5, "Content-Length: 5000000000"),
        _with_body(b"400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n", "Transfer-Encoding: chunked"),
    ],
)
def test_more_bytes_than_allowed(serve, answer: bytes) -> None:
    with pytest.raises(ImageTooLarge, match=r"more than 1,000 bytes"):
        _fetcher(serve(answer)).fetch("http://shop.example/", _budget())


def test_the_limit_of_bytes_is_exact_and_of_a_request_together(serve) -> None:
    exact = serve(_with_body(b"x" * 1000))
    assert len(_fetcher(exact).fetch("http://shop.example/", _budget())) == 1000
    with pytest.raises(ImageTooLarge, match=r"more than 999 bytes"):
        _fetcher(exact).fetch("http://shop.example/", _budget(max_bytes=999))


def _drip(start: bytes, piece: bytes) -> Callable[[socket.socket], None]:
    def answer(to: socket.socket) -> None:
        to.sendall(start)
        for _ in range(1000):
            to.sendall(piece)
            time.sleep(0.02)

    return answer


@pytest.mark.parametrize(
    "answer",
    [
        _drip(b"", b""),
        _drip(b"HTTP/1.1 200 O", b"K"),
        _drip(_OK, b"X: y\r\n"),
        _drip(_OK + b"X: ", b"y"),
        _drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        _drip(_OK + b"\r\n", b"x"),
        _drip(_OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
    ],
)
def test_a_slow_server_does_not_hold_longer_than_the_whole_time(serve, answer) -> None:
    started = time.monotonic()
    with pytest.raises(ImageNotFetched):
        _fetcher(serve(answer), max_bytes=10**6).fetch("http://shop.example/", _budget(0.3, 10**6))
    assert time.monotonic() - started < 1.5


def test_a_slow_resolver_does_not_either() -> None:
    slow = replace(_fetcher(), resolve=lambda *_: time.sleep(1) or [])
    started = time.monotonic()
    with pytest.raises(ImageNotFetched):
        slow.fetch("http://shop.example/", _budget(0.2))
    assert time.monotonic() - started < 0.9


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"+OK ready\r\n",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\nsecret",
        b"HTTP/1.1 500 Oops\r\n\r\nsecret",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 206 Partial Content\r\n\r\nsecret",
        b"HTTP/1.1 302 Found\r\n\r\n",
        _OK + b"Content-Length: 50\r\n\r\nsecret",
        _OK + b"Content-Encoding: gzip\r\n\r\n\x1f\x8b",
        _OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\nsecret",
        _OK + b"X: y\r\n" * 5000 + b"\r\n",
        _OK + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
)
def test_whatever_goes_wrong_is_told_in_the_same_words(serve, answer: bytes) -> None:
    with pytest.raises(ImageNotFetched) as caught:
        _fetcher(serve(answer)).fetch("http://shop.example/", _budget())
    assert (
        str(caught.value) == "`image_url` could not be fetched; expected the URL of an image file that is sent in time"
    )
    assert caught.value.__cause__ is None


def test_a_port_that_is_closed_is_told_in_the_same_words(serve) -> None:
    server = serve(b"")
    server.close()
    with pytest.raises(
        ImageNotFetched,
        match=r"^`image_url` could not be fetched; expected the URL of an image file that is sent in time$",
    ):
        _fetcher(server).fetch("http://shop.example/", _budget())


# TLS


def test_https_proves_the_host_of_the_url(serve, tmp_path) -> None:
    made = certify(tmp_path, "shop.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*made)
    steps = iter([_with_body(_IMAGE), _redirect("http://shop.example/")])
    server = serve(lambda to: to.sendall(next(steps)), context)
    trusting = replace(_fetcher(server), tls=lambda: ssl.create_default_context(cafile=made.certificate))
    assert trusting.fetch("https://shop.example/a", _budget()) == _IMAGE
    for fetcher, url in (
        (trusting, "https://other.example/"),  # the certificate is not for it
        (_fetcher(server), "https://shop.example/"),  # nobody vouches for the certificate
        (trusting, "https://shop.example/to-http"),
    ):
        with pytest.raises(ImageNotFetched):
            fetcher.fetch(url, _budget())
    assert [asked.split(b" ")[1] for asked in server.asked] == [b"/a", b"/to-http"]


def _wait_for_resolvers() -> None:
    """Until none has a name of an earlier test."""
    for _ in range(_N_RESOLVERS):
        assert host_resolution._free_resolvers.acquire(timeout=60)
    for _ in range(_N_RESOLVERS):
        host_resolution._free_resolvers.release()


def _held(server_of: Callable[..., _Server], n_fetches: int) -> tuple[ImageFetcher, threading.Event, list[Any]]:
    """A fetcher whose fetches all wait for the other side, and what becomes of them."""
    let_go, begun = threading.Event(), threading.Semaphore(0)
    _wait_for_resolvers()

    def answer(to: socket.socket) -> None:
        begun.release()
        assert let_go.wait(30)
        to.sendall(_with_body(_IMAGE))

    fetcher = _fetcher(server_of(answer))
    threads = ThreadPoolExecutor(n_fetches)
    futures = [threads.submit(fetcher.fetch, "http://shop.example/", _budget(30)) for _ in range(n_fetches)]
    for _ in range(n_fetches):
        assert begun.acquire(timeout=30)
    threads.shutdown(wait=False)
    return fetcher, let_go, futures


def test_so_many_are_fetched_at_once_and_the_next_is_refused_after_a_short_wait(serve) -> None:
    fetcher, let_go, futures = _held(serve, FETCHES)
    with pytest.raises(Overloaded, match="queue of image downloads") as caught:
        fetcher.fetch("http://shop.example/", _budget(30))
    assert caught.value.retry_after_s >= 1
    let_go.set()
    assert [future.result(30) for future in futures] == [_IMAGE] * FETCHES
    assert fetcher.fetch("http://shop.example/", _budget(30)) == _IMAGE


def test_several_are_fetched_side_by_side_each_url_once(serve) -> None:
    together = threading.Barrier(3, timeout=30)
    n_asked: list[int] = []

    def answer(to: socket.socket) -> None:
        n_asked.append(1)
        together.wait()
        to.sendall(_with_body(_IMAGE))

    urls = [f"http://shop.example/{name}" for name in ("a", "b", "a", "c")]
    found = fetch_all(_fetcher(serve(answer)), [*urls, "ftp://shop.example/"], _budget(30))
    assert {url: found[url] for url in urls} == dict.fromkeys(urls, _IMAGE)
    assert isinstance(found["ftp://shop.example/"], UrlNotAllowed)
    assert len(n_asked) == 3


def test_bodies_fetched_side_by_side_share_the_bytes() -> None:
    budget = _budget(max_bytes=10)
    budget.spend(6)
    with pytest.raises(ImageTooLarge):
        budget.spend(6)
    budget.spend(4)


def test_where_all_resolvers_hang_the_next_is_refused_at_once() -> None:
    let_go, hanging = threading.Event(), threading.Semaphore(0)

    def hang(_host: str, _port: int) -> list[str]:
        hanging.release()
        let_go.wait(30)
        return ["127.0.0.1"]

    fetcher = replace(_fetcher(), resolve=hang)
    try:
        for _ in range(_N_RESOLVERS):
            with pytest.raises(ImageNotFetched):
                fetcher.fetch("http://shop.example/", _budget(0.05))
            assert hanging.acquire(timeout=30)
        with pytest.raises(Overloaded, match="no host name can be resolved now"):
            fetcher.fetch("http://shop.example/", _budget(30))
    finally:
        let_go.set()


def test_a_body_that_drips_ends_at_the_deadline(serve) -> None:
    def drip(to: socket.socket) -> None:
        to.sendall(_with_body(b"", "Content-Length: 900"))
        with suppress(OSError):
            for _ in range(900):
                to.sendall(b"x")
                time.sleep(0.01)

    with pytest.raises(ImageNotFetched):
        _fetcher(serve(drip)).fetch("http://shop.example/", _budget(0.2))
