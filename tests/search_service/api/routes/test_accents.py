"""A name is found however its accents are composed: NFC or NFD, in the catalogue and in the request."""

import json
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient

from search_service.app import create_app
from search_service.engine.engine import Engine
from search_service.engine.feedback_log import FeedbackLog
from search_service.observability.metrics import Metrics
from search_service.settings import ServiceSettings
from search_service.snapshots.watcher import SnapshotWatcher
from shared.catalogue.item_store import ItemStore
from shared.catalogue.item_writer import write_items
from shared.catalogue.items import IndexedItem, Item
from shared.index.index_kind import EXACT
from shared.index.partition import Partition
from shared.manifest import CategoryEntry
from shared.model.classifier import Classifier
from shared.model.golden import golden_image
from shared.snapshot.snapshot import Snapshot
from tests.support.fakes import FakeEmbedder, fake_manifest

_FORMS = ("NFC", "NFD")


def _in(form: str, text: str) -> str:
    return unicodedata.normalize(form, text)  # type: ignore[arg-type]


@pytest.fixture(params=_FORMS, ids=lambda form: f"catalogue in {form}")
def indexed(request: pytest.FixtureRequest) -> str:
    """The form that the catalogue is in; older snapshots have any."""
    return str(request.param)


@pytest.fixture(params=_FORMS, ids=lambda form: f"asked in {form}")
def asked(request: pytest.FixtureRequest) -> str:
    """The form that the caller writes."""
    return str(request.param)


@pytest.fixture
def feedback(tmp_path: Path) -> Path:
    return tmp_path / "feedback.jsonl"


@pytest.fixture
def client(
    tmp_path: Path, indexed: str, feedback: Path, watch_on: Callable[[Engine], SnapshotWatcher]
) -> Iterator[FlaskClient]:
    categories = (_in(indexed, "Hüte"), "mugs")
    items = [
        Item(_in(indexed, "Größe é-1"), categories[0], ("a.png",), {_in(indexed, "Länge"): _in(indexed, "größer")}),
        Item("mug-1", categories[1], ("b.png",), {}),
    ]
    embeddings = np.eye(2, FakeEmbedder.dim, dtype=np.float32)
    write_items(tmp_path / "items.sqlite", [IndexedItem(item, n, (0,)) for n, item in enumerate(items)])
    snapshot = Snapshot(
        manifest=fake_manifest(
            snapshot_id="20260101T000000-accent",
            categories=tuple(CategoryEntry(category, 1, 1, 1, EXACT, 1.0) for category in categories),
            items=2,
            images=2,
            image_root=str(tmp_path),
            golden=tuple(FakeEmbedder().embed(golden_image())[0].tolist()),
        ),
        embedder=FakeEmbedder(),
        classifier=Classifier(categories, np.ascontiguousarray(embeddings.T), np.zeros(2, dtype=np.float32)),
        items=ItemStore(tmp_path / "items.sqlite"),
        partitions={
            category: Partition.build(category, embeddings[n : n + 1], np.array([n], dtype=np.int64))
            for n, category in enumerate(categories)
        },
    )
    app = create_app(watch_on(Engine(snapshot)), ServiceSettings(), Metrics(0.98), FeedbackLog(feedback))
    yield app.test_client()
    snapshot.close()


def test_categories(client, indexed, asked) -> None:
    body = {"item_id": "mug-1", "category": _in(asked, "Hüte")}
    for response in (
        client.post("/v1/search", json=body),
        client.post("/v1/search", query_string={"category": body["category"]}, json={"item_id": "mug-1"}),
        client.get("/v1/items/mug-1/similar", query_string={"category": body["category"]}),
    ):
        assert response.status_code == 200, response.text
        assert response.json["searched"] == [_in(indexed, "Hüte")]
        assert [hit["item_id"] for hit in response.json["hits"]] == [_in(indexed, "Größe é-1")]


def test_items(client, indexed, asked) -> None:
    item_id = _in(asked, "Größe é-1")
    assert client.get(f"/v1/items/{item_id}").json["item_id"] == _in(indexed, "Größe é-1")
    response = client.post("/v1/search", json={"item_id": item_id})
    assert response.json["hits"][0]["item_id"] == _in(indexed, "Größe é-1")
    assert client.get(f"/v1/items/{item_id}/similar").json["hits"] == []


def test_metadata(client, indexed, asked) -> None:
    field, value = _in(asked, "Länge"), _in(asked, "größer")
    item_id, metadata = _in(indexed, "Größe é-1"), {_in(indexed, "Länge"): _in(indexed, "größer")}
    body = {"item_id": item_id, "filter": {field: value}, "group_by": field, "fields": [field]}
    [hit] = client.post("/v1/search", json=body).json["hits"]
    assert (hit["item_id"], hit["group"], hit["metadata"]) == (item_id, _in(indexed, "größer"), metadata)
    listed = {**body, "filter": {field: ["x", value]}}
    assert len(client.post("/v1/search", json=listed).json["hits"]) == 1
    assert client.get(f"/v1/items/{item_id}", query_string={"fields": field}).json["metadata"] == metadata


def test_feedback(client, indexed, asked, feedback) -> None:
    body = {
        "item_id": _in(asked, "Größe é-1"),
        "category": _in(asked, "Hüte"),
        "clicked_item_id": _in(asked, "Größe é-1"),
    }
    response = client.post("/v1/feedback", json=body)
    assert response.status_code == 201, response.text
    assert response.json["category"] == _in(indexed, "Hüte")
    [record] = [json.loads(line) for line in feedback.read_text().splitlines()]
    assert record["query_item_id"] == record["clicked_item_id"] == _in(indexed, "Größe é-1")
