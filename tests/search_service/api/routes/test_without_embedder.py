"""A snapshot of given embeddings without a base: photos are refused, embeddings and items are searched by."""

import io
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from search_service.app import create_app
from search_service.engine.engine import Engine
from search_service.observability.metrics import Metrics
from search_service.settings import ServiceSettings
from search_service.snapshots.watcher import SnapshotWatcher
from shared.model.embedder import NoEmbedder
from tests.support.fakes import FakeEmbedder, picture


@pytest.fixture
def given(catalogue: Any, watch_on: Callable[[Engine], SnapshotWatcher]) -> FlaskClient:
    snapshot = replace(catalogue.snapshot, embedder=NoEmbedder(FakeEmbedder.dim))
    return create_app(watch_on(Engine(snapshot)), ServiceSettings(), Metrics(0.98)).test_client()


@pytest.mark.parametrize("route", ["/v1/search", "/v1/classify"])
def test_a_photo_is_refused(
    given: FlaskClient, assert_error: Callable[[TestResponse, int, str], str], route: str
) -> None:
    answer = given.post(route, data={"image": (io.BytesIO(picture("red")), "x.png")})
    assert "search by `embedding` or `item_id`" in assert_error(answer, 409, "images_unavailable")


def test_an_embedding_and_an_item_are_searched_by(given: FlaskClient, catalogue: Any) -> None:
    category, rows = next(iter(catalogue.rows.items()))
    item_id, embedding = rows[0]
    for query in ({"embedding": embedding.tolist()}, {"item_id": item_id}):
        answer = given.post("/v1/search", json={**query, "category": category})
        assert answer.status_code == 200, answer.text
        assert answer.json["hits"]
