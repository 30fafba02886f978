"""How gunicorn is told of stops and replacements; tests/end_to_end stops and replaces real workers."""

import signal
import socket
import sys
from types import SimpleNamespace

import pytest

from search_service.server.gunicorn_app import GunicornApp, complete_no_more
from search_service.settings import ServiceSettings


@pytest.fixture
def server(tmp_path) -> GunicornApp:
    return GunicornApp(ServiceSettings(workers=2), tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can do so")
def test_between_a_workers_last_look_and_its_close_nobody_connects() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as early,
    ):
        complete_no_more(listener)
        with pytest.raises(TimeoutError):
            socket.create_connection(listener.getsockname(), timeout=0.2)
        accepted, client = listener.accept()
        assert client == early.getsockname()
        with accepted:
            early.sendall(b"asked")
            assert accepted.recv(5) == b"asked"


def test_a_signal_to_stop_is_known_to_all_before_gunicorn_acts_on_it(server, monkeypatch) -> None:
    heard: list[bool] = []
    handlers = dict.fromkeys(
        (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT), lambda *_: heard.append(server.is_stopping())
    )
    monkeypatch.setattr(signal, "getsignal", handlers.__getitem__)
    monkeypatch.setattr(signal, "signal", lambda number, handler: handlers.update({number: handler}))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server._log_start(SimpleNamespace(LISTENERS=[SimpleNamespace(sock=listener, getsockname=listener.getsockname)]))
        assert not server.is_stopping()
        handlers[signal.SIGTERM](signal.SIGTERM, None)
        handlers[signal.SIGTERM](signal.SIGTERM, None)  # a second one is for gunicorn alone
    assert heard == [True, True]


@pytest.mark.parametrize(("new", "wanted"), [(1, 2), (2, 2), (3, 3), (4, 4), (5, 4)])
def test_there_are_never_fewer_workers_than_wanted_nor_twice_as_many_and_more(server, new, wanted) -> None:
    arbiter = SimpleNamespace(num_workers=new)
    server._limit_workers(arbiter, new, 2)
    assert arbiter.num_workers == wanted


@pytest.mark.parametrize(("running", "wanted"), [(2, False), (3, True)])
def test_a_worker_knows_whether_it_replaces_another(server, running, wanted) -> None:
    worker = SimpleNamespace(is_replacement=None)
    server._mark_replacement(SimpleNamespace(num_workers=running), worker)
    assert worker.is_replacement is wanted
