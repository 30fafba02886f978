"""A worker that is told to stop, on real sockets; tests/compose stops a whole service under load."""

import selectors
import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from gunicorn.config import Config

from search_service.worker import DrainingWorker


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


def test_what_has_reached_a_worker_is_answered_and_nobody_else_waits_for_it(worker, listener) -> None:
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
