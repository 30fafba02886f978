"""Fixtures of the HTTP layer's tests."""

import pytest

from search_service.server import acceptor


@pytest.fixture(autouse=True)
def _no_waiting_for_idle_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceptor, "IDLE_WHILE_DRAINING_S", 0.0)
