"""The end of a search at its deadline, or when its client disconnects."""

import threading
import time

import pytest

from search_service.admission import search_deadline
from search_service.admission.request_context import RequestContext, set_context
from search_service.admission.search_deadline import SearchDeadline
from search_service.engine.engine import Engine
from search_service.engine.query import Query
from shared.errors import ClientGone, Overloaded
from shared.retrieval.search_options import SearchOptions


def test_a_search_ends_when_its_client_disconnects(catalogue) -> None:
    engine, gone = Engine(catalogue.snapshot), threading.Event()
    set_context(RequestContext(time.monotonic() - 1, gone.is_set))
    try:
        assert engine.search_item("mug-1", SearchOptions(3)).hits
        gone.set()
        with pytest.raises(ClientGone):
            engine.search_item("mug-1", SearchOptions(3))
        with pytest.raises(ClientGone):
            engine.search_batch([(Query(item_id="mug-1"), SearchOptions(3))] * 3)
    finally:
        set_context(None)


def test_a_quick_search_is_finished_for_a_client_that_shut_down_its_sending_side(catalogue) -> None:
    set_context(RequestContext(time.monotonic() + 60, lambda: True))
    try:
        assert Engine(catalogue.snapshot).search_item("mug-1", SearchOptions(3)).hits
    finally:
        set_context(None)


def test_a_search_ends_at_its_deadline(catalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search_deadline, "SEARCH_S", -1.0)
    with pytest.raises(Overloaded, match="took longer than"):
        Engine(catalogue.snapshot).search_item("mug-1", SearchOptions(3))
    SearchDeadline(RequestContext(), time.monotonic() + 60, 60).check()
