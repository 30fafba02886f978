"""The same requests with the vectors in files and in Milvus Lite, and what is answered while Milvus is away."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient

from search_service.app import create_app
from search_service.engine.engine import Engine
from search_service.observability.metrics import Metrics
from search_service.settings import ServiceSettings
from shared.errors import StoreUnavailable
from shared.snapshot.snapshot import Snapshot
from tests.support.builders.milvus_stores import uploaded

pytestmark = pytest.mark.milvus


@pytest.fixture(scope="module")
def in_milvus(catalogue, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snapshot]:
    path = tmp_path_factory.mktemp("lite") / "vectors.db"
    with uploaded(f"milvus+file://{path}", catalogue.snapshot.partitions) as (partitions, _, _):
        yield replace(catalogue.snapshot, partitions=partitions)


def _client(snapshot: Snapshot, watch_on: Callable) -> FlaskClient:
    return create_app(watch_on(Engine(snapshot)), ServiceSettings(), Metrics(0.98)).test_client()


def _without_times(body: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: [_without_times(one) for one in value] if key == "results" else value
        for key, value in body.items()
        if key not in ("timing_ms", "request_id")
    }


_ITEM = {"item_id": "mug-1"}
_SEARCHES = [
    {},
    {"probe": 3, "top_k": 30},
    {"probe": 3, "top_k": 2, "offset": 3},
    {"category": "zapatos niños"},
    {"probe": 3, "min_score": 0.9, "top_k": 30},
    {"probe": 3, "filter": {"price": {"gte": 3}}},
    {"filter": {"glazed": True}},
    {"probe": 3, "group_by": "price", "top_k": 30},
    {"probe": 3, "collapse_above": 0.99, "top_k": 30},
    {"probe": 3, "filter": {"price": {"gte": 3}}, "group_by": "glazed", "collapse_above": 0.9},
]


@pytest.mark.parametrize("options", _SEARCHES, ids=str)
def test_a_search_has_the_same_answer(client, in_milvus, watch_on, options) -> None:
    answers = [one.post("/v1/search", json=_ITEM | options) for one in (client, _client(in_milvus, watch_on))]
    assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
    wanted, found = (_without_times(answer.json) for answer in answers)
    assert found == wanted


@pytest.mark.parametrize("item_id", ["mug-1", "hats/caps/1.png", "👟"])
def test_similar_items_and_batches_are_the_same(client, in_milvus, watch_on, item_id) -> None:
    other = _client(in_milvus, watch_on)
    path = f"/v1/items/{quote(item_id, safe='')}/similar?probe=3&top_k=20"
    batch = {"queries": [{"item_id": item_id}, {"item_id": "none"}, {"embedding": [1.0] * 8}]}
    for ask in (lambda one: one.get(path), lambda one: one.post("/v1/search/batch", json=batch)):
        wanted, found = (_without_times(ask(one).json) for one in (client, other))
        assert [_codes(found), _codes(wanted)] == [_codes(wanted)] * 2
        assert {**found, "results": None} == {**wanted, "results": None}


def _codes(body: Mapping[str, Any]) -> list[Any]:
    return [one.get("hits") or one["error"]["code"] for one in body.get("results", [])]


class _Away:
    """In the place of a partition whose server does not answer."""

    def __init__(self, part: Any) -> None:
        self.category, self.n_rows, self.n_items, self.dim = part.category, part.n_rows, part.n_items, part.dim
        self.item_numbers = part.item_numbers

    def _unavailable(self, *_: object) -> None:
        raise StoreUnavailable("Milvus at http://host is not available: too far", retry_after_s=7)

    search = embeddings = require_answer = _unavailable


@pytest.fixture
def away(catalogue, watch_on) -> FlaskClient:
    parts = {name: _Away(part) for name, part in catalogue.snapshot.partitions.items()}
    store = SimpleNamespace(require_answer=next(iter(parts.values())).require_answer)
    return _client(replace(catalogue.snapshot, partitions=parts, store=store), watch_on)


def test_while_milvus_is_away_searches_are_refused_and_all_else_is_answered(away, assert_error) -> None:
    refused = [
        away.post("/v1/search", json=_ITEM),
        away.post("/v1/search", json={"embedding": [1.0] * 8}),
        away.post("/v1/search/batch", json={"queries": [_ITEM, _ITEM]}),
        away.get("/v1/items/mug-1/similar"),
        away.get("/readyz"),
    ]
    for response in refused:
        assert "too far" in assert_error(response, 503, "store_unavailable")
        assert response.headers["Retry-After"] == "7"
    for path in ("/healthz", "/v1/items/mug-1", "/v1/categories?examples=2", "/v1/status", "/metrics"):
        assert away.get(path).status_code == 200
