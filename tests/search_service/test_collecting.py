"""The worker with one thread for requests, on real sockets: what slow, silent and lost clients do to the others."""

import hashlib
import http.client
import json
import logging
import os
import selectors
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any, BinaryIO

import pytest
from gunicorn.config import Config
from gunicorn.glogging import Logger

from search_service import collecting
from search_service.admission import Admission
from search_service.collecting import CollectingWorker
from search_service.door import Door
from search_service.metrics import Metrics
from search_service.settings import ServiceSettings

_WAIT_S = 30.0
_held = threading.Event()


@dataclass
class _App:
    """What gunicorn wants of an application, and where it finds the limits."""

    settings: ServiceSettings


def _wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
    """`/unread` leaves the body alone; everything else answers with its hash, and when it was whole.

    `/held` first waits for `_held`.
    """
    body = b"" if environ["PATH_INFO"] == "/unread" else environ["wsgi.input"].read()
    assert environ["PATH_INFO"] != "/held" or _held.wait(_WAIT_S)
    client = environ["gunicorn.socket"]
    answer = {
        "sha256": hashlib.sha256(body).hexdigest(),
        "waited_s": time.monotonic() - client.arrived_s,
        "is_gone": client.is_gone(),
        "expect": environ.get("HTTP_EXPECT"),
    }
    content = json.dumps(answer).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(content)))])
    return [content]


class _Worker:
    """One that runs on a thread of this process."""

    def __init__(self, settings: ServiceSettings, door: Door | None = None) -> None:
        self.first: socket.socket | None = None
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        config = Config()
        config.set("threads", 1)
        self._worker = CollectingWorker(1, os.getppid(), [self.listener], _App(settings), 30, config, Logger(config))
        self._worker.wsgi = _wsgi
        self._worker.door = door
        self._worker.tpool = ThreadPoolExecutor(1)
        self._worker.poller = selectors.DefaultSelector()
        self._worker.method_queue.init()
        self._thread = threading.Thread(target=self._worker.run)
        self._thread.start()

    def stop(self) -> None:
        self._worker.alive = False
        self._worker.method_queue.defer(lambda: None)
        self._thread.join(_WAIT_S)
        self._worker.tmp.close()
        assert not self._thread.is_alive()
        assert self._worker._held_bytes == 0
        assert self._worker.nr_conns == 0
        assert not self._worker._let_in

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=_WAIT_S)

    def ask(self, body: bytes = b"", path: str = "/") -> dict[str, Any]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=_WAIT_S)) as connection:
            return _ask(connection, body, path)


def _ask(connection: http.client.HTTPConnection, body: bytes, path: str = "/") -> dict[str, Any]:
    connection.request("POST", path, body)
    response = connection.getresponse()
    assert response.status == 200
    return json.loads(response.read())


def _post(body: bytes, path: str = "/", *headers: str) -> bytes:
    head = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


def _answer(client: socket.socket) -> tuple[http.client.HTTPResponse, Any]:
    response = http.client.HTTPResponse(client)
    response.begin()
    return response, json.loads(response.read())


def _next(answers: BinaryIO) -> Any:
    assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
    headers = http.client.parse_headers(answers)
    return json.loads(answers.read(int(headers["Content-Length"])))


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


@pytest.fixture
def run() -> Iterator[Callable[..., _Worker]]:
    with ExitStack() as running:

        def start(door: Door | None = None, **settings: int) -> _Worker:
            worker = _Worker(ServiceSettings(**settings), door)
            running.callback(worker.stop)
            return worker

        yield start
    logging.getLogger("gunicorn.error").handlers.clear()


@pytest.fixture
def worker(run) -> _Worker:
    return run()


def test_slow_uploads_and_silent_clients_hold_no_thread(worker) -> None:
    request = _post(b"a" * 1000)
    with ExitStack() as opened:
        slow = [opened.enter_context(worker.connect()) for _ in range(20)]
        silent = [opened.enter_context(worker.connect()) for _ in range(20)]
        for position, client in enumerate(slow):
            client.sendall(request[: 10 + 50 * position])
        assert worker.ask(b"quick")["sha256"] == _sha256(b"quick")
        for position, client in enumerate(slow):
            client.sendall(request[10 + 50 * position :])
            assert _answer(client)[1]["sha256"] == _sha256(b"a" * 1000)
        for client in silent:
            client.sendall(request)
            assert _answer(client)[0].status == 200


def test_a_large_body_comes_through_unchanged(worker) -> None:
    body = os.urandom(5_000_001)
    assert worker.ask(body)["sha256"] == _sha256(body)


def test_chunks_come_through_unchanged(worker) -> None:
    pieces = [os.urandom(size) for size in (1, 70_000, 3)]
    with closing(http.client.HTTPConnection("127.0.0.1", worker.port, timeout=_WAIT_S)) as connection:
        connection.request("POST", "/", iter(pieces), encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
        assert json.loads(connection.getresponse().read())["sha256"] == _sha256(b"".join(pieces))


def test_a_connection_is_kept_also_where_a_large_body_was_not_read(worker) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", worker.port, timeout=_WAIT_S)) as connection:
        connection.connect()
        address = connection.sock.getsockname()
        for path in ("/unread", "/", "/unread", "/"):
            body = os.urandom(300_000)
            assert _ask(connection, body, path)["sha256"] == _sha256(body if path == "/" else b"")
            assert connection.sock.getsockname() == address


def test_requests_in_a_row_are_answered_in_their_order(worker) -> None:
    bodies = [b"one", b"", b"x" * 100_000, b"four"]
    with worker.connect() as client, client.makefile("rb") as answers:
        sent = b"".join(_post(body) for body in bodies) + _post(b"five")
        client.sendall(sent[:-3])
        for body in bodies:
            assert _next(answers)["sha256"] == _sha256(body)
        client.sendall(sent[-3:])
        assert _next(answers)["sha256"] == _sha256(b"five")


def test_a_client_that_waits_to_be_told_to_send_its_body_is_told_so(worker) -> None:
    request = _post(b"body", "/", "Expect: 100-continue")
    with worker.connect() as client:
        client.sendall(request[:-4])
        assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"body")
        answer = _answer(client)[1]
    assert answer["sha256"] == _sha256(b"body")
    assert answer["expect"] is None


def test_the_wait_counts_from_when_the_request_was_whole(worker) -> None:
    with worker.connect() as client:
        client.sendall(_post(b"body")[:-1])
        time.sleep(0.3)
        client.sendall(b"y")
        assert 0 <= _answer(client)[1]["waited_s"] < 0.3


@pytest.mark.parametrize(("leaves", "wanted"), [(False, False), (True, True)])
def test_it_is_seen_that_a_client_is_gone(worker, monkeypatch, leaves, wanted) -> None:
    seen: list[bool] = []
    looked = threading.Event()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
        deadline = time.monotonic() + (_WAIT_S if leaves else 0.05)
        while not (is_gone := environ["gunicorn.socket"].is_gone()) and time.monotonic() < deadline:
            time.sleep(0.001)
        seen.append(is_gone)
        looked.set()
        return _wsgi(environ, start_response)

    monkeypatch.setattr(worker._worker, "wsgi", app)
    with worker.connect() as client:
        client.sendall(_post(b"body"))
        if leaves:
            client.close()
        assert looked.wait(_WAIT_S)
    assert seen == [wanted]


def test_who_sends_nothing_is_disconnected(worker, monkeypatch) -> None:
    monkeypatch.setattr(collecting, "SILENT_S", 0.05)
    with worker.connect() as client:
        assert client.recv(1) == b""


def test_a_request_that_does_not_end_is_refused(worker, monkeypatch) -> None:
    monkeypatch.setattr(collecting, "ARRIVAL_S", 0.05)
    with worker.connect() as client:
        client.sendall(_post(b"body")[:-1])
        response, body = _answer(client)
    assert (response.status, body["error"]["code"]) == (408, "slow_client")
    assert body["error"]["request_id"] == response.headers["X-Request-ID"]


def test_more_is_not_held_than_may_be(run) -> None:
    # 8 bodies of 256 KiB and a few bytes.
    worker = run(max_upload_bytes=3, max_batch_bytes=3)
    part = _post(b"x" * 250_000)[:-1]
    with ExitStack() as opened:
        clients = [opened.enter_context(worker.connect()) for _ in range(9)]
        for client in clients:
            client.sendall(part)
        refused, _ = _first_to_be_answered(clients)
        response, body = _answer(refused)
        assert (response.status, body["error"]["code"]) == (503, "overloaded")
        assert response.headers["Retry-After"] == "1"
        clients.remove(refused)
        for client in clients:
            client.sendall(b"x")
            assert _answer(client)[1]["sha256"] == _sha256(b"x" * 250_000)


def _first_to_be_answered(clients: list[socket.socket]) -> tuple[socket.socket, int]:
    with selectors.DefaultSelector() as selector:
        for client in clients:
            selector.register(client, selectors.EVENT_READ)
        [(key, events), *_] = selector.select(_WAIT_S)
    return key.fileobj, events


def test_a_request_that_is_arriving_when_the_worker_is_stopped_is_answered(run) -> None:
    worker = run()
    with worker.connect() as client:
        client.sendall(_post(b"body")[:-1])
        worker.ask()
        worker._worker.alive = False
        worker._worker.method_queue.defer(lambda: None)
        time.sleep(0.05)
        client.sendall(b"y")
        assert _answer(client)[1]["sha256"] == _sha256(b"body"[:-1] + b"y")


_FORM = "Content-Type: multipart/form-data; boundary=b"


@pytest.fixture
def full(run) -> Iterator[_Worker]:
    """A worker whose one thread works on a query by an image, and that has room for no other."""
    metrics = Metrics(0.98)
    worker = run(Door(Admission(1, queue=0, observer=metrics), metrics, ("/held", "/query")))
    _held.clear()
    with worker.connect() as client:
        client.sendall(_post(b"first", "/held", _FORM))
        deadline_s = time.monotonic() + _WAIT_S
        while not worker._worker._let_in and time.monotonic() < deadline_s:
            time.sleep(0.001)
        worker.first = client
        yield worker
        _held.set()


def test_a_query_that_there_is_no_room_for_is_refused_without_a_thread(full) -> None:
    with full.connect() as client:
        for _ in range(3):  # over one connection
            client.sendall(_post(b"query", "/query", _FORM))
            response, body = _answer(client)
            assert (response.status, body["error"]["code"]) == (503, "overloaded")
            assert response.headers["Retry-After"] == "1"
        _held.set()
        assert _answer(full.first)[1]["sha256"] == _sha256(b"first")
        answers = []
        until_s = time.monotonic() + 10
        while answers[-1:] != [200] and time.monotonic() < until_s:  # there is room a moment after the answer
            client.sendall(_post(b"query", "/query", _FORM))
            response, body = _answer(client)
            answers.append(response.status)
        assert set(answers[:-1]) <= {503}
        assert body["sha256"] == _sha256(b"query")


def test_what_brings_no_image_is_let_in_where_queries_are_not(full) -> None:
    with full.connect() as client:
        client.sendall(_post(b"other", "/query", "Content-Type: application/json"))
        _held.set()
        assert _answer(client)[1]["sha256"] == _sha256(b"other")


@pytest.mark.parametrize("second", [b"", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"])
def test_who_closes_or_sends_ahead_is_told_that_the_connection_ends(full, second) -> None:
    with full.connect() as client:
        client.sendall(_post(b"query", "/query", _FORM, *([] if second else ["Connection: close"])) + second)
        response, _ = _answer(client)
        assert (response.status, response.headers["Connection"]) == (503, "close")
        assert client.recv(1) == b""


def test_a_client_that_leaves_before_its_refusal_leaves_nothing_behind(full) -> None:
    for _ in range(20):
        with full.connect() as client:
            client.sendall(_post(b"query", "/query", _FORM))
    _held.set()
    assert _answer(full.first)[1]["sha256"] == _sha256(b"first")
