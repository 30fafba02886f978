"""When workers are started and told to drain; tests/end_to_end/test_recycling.py replaces real ones under load."""

import os
import signal
from types import SimpleNamespace
from typing import Any

import pytest
from gunicorn.arbiter import Arbiter
from gunicorn.config import Config
from gunicorn.workers.gthread import ThreadWorker

from search_service.recycling import RecyclingArbiter, RecyclingWorker

STARTING, SERVING, WORN = range(3)


def _looked_after(monkeypatch: pytest.MonkeyPatch, wanted: int, *states: int) -> tuple[int, list[int]]:
    """How many workers there shall be, and which of them (numbered from 0) are told to drain."""
    allowed: list[int] = []
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(Arbiter, "manage_workers", lambda arbiter: allowed.append(arbiter._num_workers))
    monkeypatch.setattr(Arbiter, "kill_worker", lambda _, pid, sig: told.append((pid, sig)))
    monkeypatch.setattr(os, "fstat", lambda state: SimpleNamespace(st_size=state))
    workers = {pid: SimpleNamespace(tmp=SimpleNamespace(fileno=lambda s=s: s)) for pid, s in enumerate(states)}
    arbiter: Any = object.__new__(RecyclingArbiter)
    vars(arbiter).update(WORKERS=workers, _num_workers=wanted)
    arbiter.manage_workers()
    assert arbiter._num_workers == wanted
    assert all(sig == signal.SIGTERM for _, sig in told)
    return allowed[0], [pid for pid, _ in told]


@pytest.mark.parametrize(
    ("wanted", "states", "allowed", "told"),
    [
        (1, [], 1, []),
        (1, [SERVING], 1, []),
        (1, [WORN], 2, []),
        (1, [WORN, STARTING], 2, []),
        (1, [WORN, SERVING], 2, [0]),
        (1, [WORN, WORN], 2, [0]),  # the second one serves until the first has drained
        (2, [WORN, SERVING], 3, []),
        (2, [SERVING, WORN, STARTING], 3, []),
        (2, [SERVING, WORN, SERVING], 3, [1]),
        (2, [WORN, WORN, SERVING], 4, [0]),
        (2, [WORN, WORN, SERVING, SERVING], 4, [0, 1]),
    ],
)
def test_a_worn_worker_drains_once_there_is_another(monkeypatch, wanted, states, allowed, told) -> None:
    assert _looked_after(monkeypatch, wanted, *states) == (allowed, told)


@pytest.fixture
def worker(monkeypatch):
    woken: list[int] = []
    monkeypatch.setattr(os, "kill", lambda pid, sig: woken.append(sig))
    config = Config()
    config.set("threads", 2)
    config.set("max_requests", 3)
    worker = RecyclingWorker(1, os.getppid(), [], None, 30, config, None)
    worker.woken = woken
    monkeypatch.setattr(ThreadWorker, "run", lambda _: None)

    def answer(self: Any, req: Any, conn: Any) -> bool:
        self.nr += 1
        assert self.nr < self.max_requests, "gunicorn would stop the worker itself"
        return True

    monkeypatch.setattr(ThreadWorker, "handle_request", answer)
    yield worker
    worker.tmp.close()


def _state(worker: RecyclingWorker) -> int:
    return os.fstat(worker.tmp.fileno()).st_size


def test_a_worker_says_that_it_serves_and_when_it_is_worn_and_goes_on(worker) -> None:
    assert _state(worker) == STARTING
    worker.run()
    assert (_state(worker), worker.woken) == (SERVING, [signal.SIGCHLD])
    seen = []
    for _ in range(5):
        assert worker.handle_request(None, None) is True
        seen.append(_state(worker))
    assert seen == [SERVING, SERVING, WORN, WORN, WORN]
    assert worker.alive
    assert worker.woken == [signal.SIGCHLD] * 2


def test_only_a_worker_that_is_not_worn_says_that_the_service_stops(worker) -> None:
    assert not worker.is_stopping
    worker.alive = False
    assert worker.is_stopping
    for _ in range(3):
        worker.handle_request(None, None)
    assert not worker.is_stopping
