"""What becomes of connections when the service stops, on real sockets; tests/compose stops it under load."""

import selectors
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config

from search_service.draining import DrainingArbiter, DrainingWorker, complete_no_more


class _Worker(DrainingWorker):
    """Notes what it has taken in instead of answering it."""

    def enqueue_req(self, conn) -> None:
        self.taken_in.append(conn.client)
        conn.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def worker(listener: socket.socket) -> Iterator[_Worker]:
    config = Config()
    config.set("threads", 2)
    worker = _Worker(1, 0, [listener], None, 30, config, None)
    worker.taken_in = []
    with selectors.DefaultSelector() as worker.poller:
        worker.set_accept_enabled(True)
        yield worker
    worker.tmp.close()


def test_a_stopped_worker_takes_in_what_has_reached_it_and_listens_no_more(worker, listener) -> None:
    address = listener.getsockname()
    with ExitStack() as opened:
        clients = [opened.enter_context(socket.create_connection(address)).getsockname() for _ in range(3)]
        worker.alive = False
        worker.set_accept_enabled(False)
        assert sorted(worker.taken_in) == sorted(clients)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address)
    worker.set_accept_enabled(False)  # gunicorn may say so twice


def test_a_worker_that_is_only_busy_goes_on_listening(worker, listener) -> None:
    worker.set_accept_enabled(False)
    with socket.create_connection(listener.getsockname()) as client:
        assert worker.taken_in == []
        worker.set_accept_enabled(True)
        worker.wait_for_and_dispatch_events(timeout=5.0)
        assert worker.taken_in == [client.getsockname()]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can do so")
def test_between_a_workers_last_look_and_its_close_nobody_connects(listener) -> None:
    with socket.create_connection(listener.getsockname()) as early:
        complete_no_more(listener)
        with pytest.raises(TimeoutError):
            socket.create_connection(listener.getsockname(), timeout=0.2)
        accepted, client = listener.accept()
        assert client == early.getsockname()
        with accepted:
            early.sendall(b"asked")
            assert accepted.recv(5) == b"asked"
            accepted.sendall(b"answered")
            assert early.recv(8) == b"answered"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can do so")
@pytest.mark.parametrize("state", [{}, {"systemd": True}, {"reexec_pid": 7}, {"master_pid": 7}])
def test_the_arbiter_leaves_sockets_alone_that_another_process_listens_on(listener, monkeypatch, state) -> None:
    stopped: list[bool] = []
    monkeypatch.setattr(Arbiter, "stop", lambda _, graceful: stopped.append(graceful))
    arbiter = object.__new__(DrainingArbiter)
    vars(arbiter).update({"systemd": False, "reexec_pid": 0, "master_pid": 0, "LISTENERS": [listener]} | state)
    arbiter.stop()
    assert stopped == [True]
    try:
        socket.create_connection(listener.getsockname(), timeout=0.2).close()
        connects = True
    except TimeoutError:
        connects = False
    assert connects is bool(state)
