"""What slow, silent, greedy and lost clients do to the others, on real sockets."""

import asyncio
import errno
import hashlib
import http.client
import json
import os
import resource
import selectors
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress

import pytest

from search_service.admission.controller import AdmissionController
from search_service.server import acceptor, connection
from search_service.server.acceptor import Acceptor
from search_service.settings import ServiceSettings
from tests.support.processes.http_server import LONG_BYTES, WAIT_S, HttpServer, answers, http_server

_FORM = "Content-Type: multipart/form-data; boundary=b"
_GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with http_server() as server:
        yield server


def _post(body: bytes, path: str = "/", *headers: str) -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def test_slow_uploads_and_silent_clients_hold_no_thread() -> None:
    request = _post(b"a" * 1000)
    with http_server(threads=1) as server, ExitStack() as opened:
        slow = [opened.enter_context(server.connect()) for _ in range(20)]
        silent = [opened.enter_context(server.connect()) for _ in range(20)]
        for position, client in enumerate(slow):
            client.sendall(request[: 10 + 50 * position])
        assert server.ask(b"quick")[1]["sha256"] == _sha256(b"quick")
        for position, client in enumerate(slow):
            client.sendall(request[10 + 50 * position :])
            assert next(answers(client))[2]["sha256"] == _sha256(b"a" * 1000)
        for client in silent:
            client.sendall(request)
            assert next(answers(client))[0] == 200


def test_a_large_body_comes_through_unchanged(server) -> None:
    body = os.urandom(5_000_001)
    assert server.ask(body)[1]["sha256"] == _sha256(body)


def test_chunks_come_through_unchanged(server) -> None:
    pieces = [os.urandom(size) for size in (1, 70_000, 3)]
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT_S)) as client:
        client.request("POST", "/", iter(pieces), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
        assert json.loads(client.getresponse().read())["sha256"] == _sha256(b"".join(pieces))


def test_a_connection_is_kept_also_where_a_large_body_was_not_read(server) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT_S)) as client:
        client.connect()
        address = client.sock.getsockname()
        for path in ("/unread", "/", "/unread", "/"):
            body = os.urandom(300_000)
            client.request("POST", path, body)
            seen = json.loads(client.getresponse().read())
            assert seen["sha256"] == _sha256(body if path == "/" else b"")
            assert client.sock.getsockname() == address


def test_requests_in_a_row_are_answered_in_their_order(server) -> None:
    bodies = [b"one", b"", b"x" * 100_000, b"four", b"five"]
    with server.connect() as client:
        sent = b"".join(_post(body) for body in bodies)
        client.sendall(sent[:-3])
        found = answers(client)
        for body in bodies[:-1]:
            assert next(found)[2]["sha256"] == _sha256(body)
        client.sendall(sent[-3:])
        assert next(found)[2]["sha256"] == _sha256(b"five")


def test_a_client_that_waits_to_be_told_to_send_its_body_is_told_so(server) -> None:
    request = _post(b"body", "/", "Expect: 100-continue")
    with server.connect() as client:
        client.sendall(request[:-4])
        assert client.recv(100).startswith(b"HTTP/1.1 100 ")
        client.sendall(b"body")
        assert next(answers(client))[2]["sha256"] == _sha256(b"body")


def test_a_body_that_would_be_refused_is_not_asked_for() -> None:
    with http_server(max_upload_bytes=3) as server, server.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\nExpect: 100-continue\r\n\r\n")
        status, headers, body = next(answers(client))
        assert (status, headers["Connection"], body["error"]["code"]) == (413, "close", "image_too_large")


def test_the_wait_counts_from_when_the_request_was_whole(server) -> None:
    with server.connect() as client:
        client.sendall(_post(b"body")[:-1])
        time.sleep(0.3)
        client.sendall(b"y")
        assert 0 <= next(answers(client))[2]["waited_s"] < 0.3


def test_it_is_seen_that_a_client_is_gone(server) -> None:
    with server.connect() as client:
        client.sendall(_post(b"body", "/gone"))
    server.wait_until(lambda: server.gone == [True])
    assert server.ask(b"")[1]["is_disconnected"] is False


def test_who_sends_nothing_is_disconnected(server, monkeypatch) -> None:
    monkeypatch.setattr(connection, "FIRST_BYTE_TIMEOUT_S", 0.05)
    with server.connect() as client:
        assert client.recv(1) == b""


@pytest.mark.parametrize(
    ("limit", "sent"),
    [
        ("HEAD_TIMEOUT_S", _GET[:-1]),
        ("BODY_TIMEOUT_S", _post(b"body")[:-1]),
        ("STALL_TIMEOUT_S", _post(bytes(300_000))[:-1]),
    ],
)
def test_a_request_that_does_not_go_on_is_refused(server, monkeypatch, limit, sent) -> None:
    monkeypatch.setattr(connection, limit, 0.1)
    with server.connect() as client:
        client.sendall(sent)
        status, headers, body = next(answers(client))
    assert (status, headers["Connection"], body["error"]["code"]) == (408, "close", "slow_client")


def test_a_byte_now_and_then_is_not_going_on(server, monkeypatch) -> None:
    monkeypatch.setattr(connection, "STALL_TIMEOUT_S", 0.3)
    with server.connect() as client:
        client.sendall(_post(bytes(300_000))[:-200_000])
        client.settimeout(0.02)
        until_s = time.monotonic() + WAIT_S
        received = b""
        while not received and time.monotonic() < until_s:
            client.sendall(b"x")
            with suppress(TimeoutError):
                received = client.recv(1000)
        assert received.startswith(b"HTTP/1.1 408")


def test_more_is_not_held_than_may_be() -> None:
    part = _post(b"x" * 250_000)[:-1]
    limits = {"max_upload_bytes": 3, "max_batch_bytes": 3, "trusted_proxies": 1}
    with http_server(**limits) as server, ExitStack() as opened:
        clients = [opened.enter_context(server.connect()) for _ in range(9)]  # 8 bodies of 256 KiB may be held
        for client in clients:
            client.sendall(part)
        refused = _first_to_be_answered(clients)
        status, headers, body = next(answers(refused))
        assert (status, headers["Retry-After"], body["error"]["code"]) == (503, "1", "overloaded")
        clients.remove(refused)
        for client in clients:
            client.sendall(b"x")
            assert next(answers(client))[2]["sha256"] == _sha256(b"x" * 250_000)


def _first_to_be_answered(clients: list[socket.socket]) -> socket.socket:
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client, selectors.EVENT_READ)
        [(key, _), *_] = selector.select(WAIT_S)
    return key.fileobj


def test_a_connection_that_only_waits_makes_room_for_a_new_one() -> None:
    with http_server(max_connections=50, max_address_connections=10) as server, ExitStack() as opened:
        waiting = []
        for _ in range(10):
            waiting.append(opened.enter_context(server.connect()))
            waiting[-1].sendall(b"P")
        server.wait_until(lambda: len(server.acceptor.limits) == 10)
        for _ in range(3):
            assert server.ask(b"body")[0] == 200
        assert _is_closed(waiting[0])
        waiting[-1].settimeout(0.05)
        with pytest.raises(TimeoutError):
            waiting[-1].recv(1)


def test_connections_that_are_being_answered_are_not_given_up() -> None:
    with http_server(max_connections=3, max_address_connections=3) as server, ExitStack() as opened:
        busy = [opened.enter_context(server.connect()) for _ in range(3)]
        for client in busy:
            client.sendall(_post(b"body", "/held"))
        server.wait_until(lambda: server.gateway._pools["light"].of_address.total() == 3)
        with server.connect() as late:
            assert _is_closed(late)
        server.held.set()
        assert [next(answers(client))[0] for client in busy] == [200] * 3


def test_answers_that_are_not_read_hold_no_thread() -> None:
    with http_server(threads=1) as server, ExitStack() as opened:
        for _ in range(10):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            client.connect(("127.0.0.1", server.port))
            opened.enter_context(client).sendall(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n" * 4)
        for _ in range(20):
            assert server.ask(b"quick")[0] == 200


def test_a_client_that_does_not_read_is_disconnected(server, monkeypatch) -> None:
    monkeypatch.setattr(connection, "STALL_TIMEOUT_S", 0.1)
    with server.connect() as client:
        client.sendall(b"GET /long HTTP/1.1\r\nHost: x\r\n\r\n" * 20)
        server.wait_until(lambda: len(server.acceptor.limits) == 1)
        server.wait_until(lambda: len(server.acceptor.limits) == 0)


def test_a_long_answer_is_made_while_it_is_read(server) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=WAIT_S)) as client:
        for _ in range(2):
            client.request("GET", "/long")
            assert client.getresponse().read() == bytes(LONG_BYTES)


def test_who_closes_after_the_answer_does_not_keep_others_waiting(server) -> None:
    with ExitStack() as opened:
        for _ in range(20):
            client = opened.enter_context(server.connect())
            client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert next(answers(client))[1]["Connection"] == "close"
            assert _is_closed(client)
        assert server.ask(b"body")[0] == 200


def test_a_refused_client_that_still_sends_can_read_why() -> None:
    with http_server(max_upload_bytes=3) as server, server.connect() as client:
        client.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n")
        for _ in range(30):
            client.sendall(bytes(100_000))
        assert next(answers(client))[0] == 413


def test_a_request_that_is_arriving_when_the_service_is_stopped_is_answered(server, monkeypatch) -> None:
    monkeypatch.setattr(acceptor, "IDLE_WHILE_DRAINING_S", 5.0)
    with server.connect() as client, server.connect() as early:
        client.sendall(_post(b"body")[:-1])
        assert server.ask(b"")[0] == 200
        server.begin_to_stop()
        time.sleep(0.05)
        with pytest.raises(ConnectionRefusedError):
            server.connect()
        early.sendall(_GET)  # it had connected before
        assert next(answers(early))[1]["Connection"] == "close"
        client.sendall(b"y")
        status, headers, seen = next(answers(client))
        assert (status, headers["Connection"], seen["sha256"]) == (200, "close", _sha256(b"body"[:-1] + b"y"))


def test_idle_connections_end_soon_when_the_service_is_stopped(server, monkeypatch) -> None:
    monkeypatch.setattr(acceptor, "IDLE_WHILE_DRAINING_S", 0.05)
    with server.connect() as client:
        client.sendall(_GET)
        assert next(answers(client))[0] == 200
        server.begin_to_stop()
        assert _is_closed(client)


def test_an_error_of_the_application_ends_no_worker(server) -> None:
    with server.connect() as client:
        client.sendall(b"GET /broken HTTP/1.1\r\nHost: x\r\n\r\n" + _GET)
        assert [status for status, _, _ in (next(found) for found in [answers(client)] * 2)] == [500, 200]


@pytest.fixture
def full() -> Iterator[tuple[HttpServer, socket.socket]]:
    """A service that answers one query by an image, held in its thread, and has room for no other."""
    with http_server(queue=0) as server:
        server.gateway._pools["image"].capacity = 1
        with server.connect() as first:
            first.sendall(_post(b"first", "/v1/held", _FORM))
            server.wait_until(lambda: server.gateway._pools["image"].of_address.total() == 1)
            yield server, first


def test_a_query_that_there_is_no_room_for_is_refused_without_a_thread(full) -> None:
    server, first = full
    with server.connect() as client:
        found = answers(client)
        for _ in range(3):  # over one connection
            client.sendall(_post(b"query", "/v1/query", _FORM, "Origin: https://shop.example", "X-Request-ID: mine"))
            status, headers, body = next(found)
            assert (status, body["error"]["code"], headers["Retry-After"]) == (503, "overloaded", "1")
            assert "query queue is full" in body["error"]["message"]
            assert headers["X-Request-ID"] == body["error"]["request_id"] == "mine"
        assert server.ask(b"other", "/v1/search")[0] == 200  # what brings no image is let in
        server.held.set()
        assert next(answers(first))[0] == 200
        server.wait_until(lambda: not server.gateway._pools["image"].of_address)
        client.sendall(_post(b"query", "/v1/query", _FORM))
        assert next(found)[0] == 200
    text = server.metrics.text().decode()
    assert 'parecido_refused_queries_total{reason="queue_full"} 3.0' in text
    assert 'parecido_errors_total{code="overloaded"} 3.0' in text


def test_an_admission_is_asked_for_the_refusal() -> None:
    with http_server(AdmissionController(1, queue=0), queue=0) as server:
        server.gateway._pools["image"].capacity = 0
        assert server.ask(b"query", "/v1/search", {"Content-Type": "multipart/form-data; boundary=b"})[0] == 503


def test_many_quick_uploads_of_an_address_do_not_end_a_slow_one_of_another() -> None:
    part = _post(b"x" * 250_000)[:-1]
    with http_server(max_upload_bytes=3, max_batch_bytes=3) as server, ExitStack() as opened:
        slow = opened.enter_context(closing(socket.socket()))
        slow.settimeout(WAIT_S)
        slow.bind(("127.0.0.2", 0))
        slow.connect(("127.0.0.1", server.port))
        slow.sendall(part)
        clients = [opened.enter_context(server.connect()) for _ in range(20)]
        for client in clients:
            client.sendall(part)
        assert next(answers(_first_to_be_answered(clients)))[0] == 503
        slow.sendall(b"x")
        assert next(answers(slow))[2]["sha256"] == _sha256(b"x" * 250_000)


def test_a_client_whose_upload_was_given_up_can_read_why() -> None:
    with http_server(max_upload_bytes=3, max_batch_bytes=3) as server, ExitStack() as opened:
        clients = [opened.enter_context(server.connect()) for _ in range(20)]
        for client in clients:
            client.sendall(_post(b"x" * 250_000)[:-1])
        refused = _first_to_be_answered(clients)
        for _ in range(3):  # closed at once, it would be reset by the first of them
            refused.sendall(b"x")
            time.sleep(0.02)
        assert next(answers(refused))[2]["error"]["code"] == "overloaded"


def test_a_long_answer_holds_no_more_than_what_is_being_sent(server) -> None:
    server.acceptor.limits._max_held_bytes = LONG_BYTES // 2
    server.acceptor.limits._max_held_of_network = LONG_BYTES // 2
    with server.connect() as client:
        client.sendall(b"GET /long HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        received = b""
        while part := client.recv(100_000):
            received += part
    assert received.endswith(b"0\r\n\r\n")
    assert len(received) > LONG_BYTES


def test_a_fault_outside_the_application_is_an_error_like_others(server) -> None:
    def broken(environ, start_response):
        raise OSError("a disk that fails")

    server.gateway._app = broken
    status, body = server.ask(b"", headers={"X-Request-ID": "mine"})
    assert (status, body["error"]["code"], body["error"]["request_id"]) == (500, "internal", "mine")


def test_without_files_left_a_worker_does_not_spin() -> None:
    class Poor(socket.socket):
        calls, until_s = 0, float("inf")

        def accept(self) -> tuple[socket.socket, object]:
            Poor.calls += 1
            Poor.until_s = min(Poor.until_s, time.monotonic() + 0.3)
            if time.monotonic() < Poor.until_s:
                raise OSError(errno.EMFILE, "too many open files")
            return super().accept()

    with http_server() as server:
        with socket.create_server(("127.0.0.1", 0)) as plain:
            poor = Poor(fileno=plain.detach())
        port = poor.getsockname()[1]

        async def listen() -> Acceptor:
            return Acceptor([poor], server.gateway, ServiceSettings())

        other = asyncio.run_coroutine_threadsafe(listen(), server.acceptor._loop).result(WAIT_S)
        with socket.create_connection(("127.0.0.1", port), timeout=WAIT_S) as client:
            client.sendall(_GET)
            assert next(answers(client))[0] == 200
        assert Poor.calls < 20
        server.acceptor._loop.call_soon_threadsafe(other.stop, False)
        server.wait_until(lambda: poor.fileno() == -1 and len(other.limits) == 0)


@pytest.mark.parametrize(("files", "wanted"), [(64, 16), (1024, 480), (resource.RLIM_INFINITY, sys.maxsize)])
def test_there_are_no_more_connections_than_files_for_them(monkeypatch, files, wanted) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (files, files))
    assert acceptor._max_connections() == wanted
