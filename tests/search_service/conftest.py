"""A tiny snapshot of three categories, an engine and a web client on it, and the check of error bodies."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from search_service.app import create_app
from search_service.engine.engine import Engine
from search_service.observability.metrics import Metrics
from search_service.settings import ServiceSettings
from search_service.snapshots.version import SnapshotVersion
from search_service.snapshots.watcher import SnapshotWatcher
from shared.catalogue.item_store import ItemStore
from shared.catalogue.item_writer import write_items
from shared.catalogue.items import IndexedItem, Item
from shared.images.decode import decode_image
from shared.images.limits import ImageLimits
from shared.images.preprocessing import to_pixels
from shared.index.index_kind import EXACT
from shared.index.partition import Partition
from shared.manifest import CategoryEntry, Manifest
from shared.model.classifier import Classifier
from shared.model.golden import golden_image
from shared.model.ood_rule import OodRule
from shared.snapshot.snapshot import Snapshot
from shared.vectors import Vectors, unit_rows
from tests.support.builders.words import catalogue_words
from tests.support.fakes import FakeEmbedder, fake_manifest, picture

HATS, MUGS, SHOES = "hats/caps 🎩", "mugs", "zapatos niños"

_Colour = tuple[int, int, int]

# Item id → its metadata and the colours of its images. Hats are green, mugs blue, shoes red.
_ITEMS: dict[str, dict[str, tuple[dict, list[_Colour]]]] = {
    HATS: {
        "hats/caps/1.png": ({"price": 12.5, "sizes": ["S", "M"]}, [(20, 250, 20), (60, 200, 90)]),
        "two words": ({}, [(40, 230, 60)]),
        "100%": ({"note": '50 % "off" <b>&'}, [(10, 200, 40)]),
        "what?": ({}, [(70, 245, 10)]),
        "#1": ({"stock": 0}, [(30, 180, 90)]),
    },
    MUGS: {
        "mug-1": ({"price": 3, "glazed": True}, [(20, 20, 250)]),
        "a//b": ({}, [(60, 20, 230)]),
        "/leading": ({}, [(10, 90, 200), (90, 30, 220)]),
        "a%2Fb": ({}, [(20, 60, 180)]),
        "x&y=z+w;": ({"nested": {"depth": [1, [2.5, None]]}}, [(80, 80, 255)]),
    },
    SHOES: {
        "niño-é": ({"título": "Zapatos de niño"}, [(250, 20, 20)]),
        "👟": ({}, [(230, 60, 20), (255, 110, 60)]),
        "..": ({}, [(200, 30, 70)]),
        "trailing/": ({}, [(180, 10, 10)]),
        "\"quoted\" \\ 'id'": ({}, [(220, 80, 80)]),
    },
}


@dataclass(frozen=True)
class TinyCatalogue:
    """The snapshot, and what it was made from.

    Attributes:
        snapshot: open.
        image_root: the directory that the items' images lie in.
        rows: for each category, the item id and the `(dim,)` embedding of each row of its partition.
    """

    snapshot: Snapshot
    image_root: Path
    rows: dict[str, list[tuple[str, np.ndarray]]]
    hats = HATS
    mugs = MUGS
    shoes = SHOES

    def items(self) -> list[Item]:
        return [indexed.item for indexed in self.snapshot.items]

    def ids(self, category: str) -> list[str]:
        return [item.item_id for item in self.items() if item.category == category]

    def image(self, item_id: str, position: int = 0) -> bytes:
        path = self.snapshot.items.by_id(item_id).item.images[position]
        return (self.image_root / path).read_bytes()

    def exact(self, categories: list[str], queries: Vectors) -> list[tuple[str, float]]:
        """Every item of these categories with its best cosine to any of the queries, best first; plain NumPy."""
        best: dict[str, float] = {}
        for item_id, embedding in (row for category in categories for row in self.rows[category]):
            lengths = np.linalg.norm(queries, axis=1) * np.linalg.norm(embedding)
            cosines = queries.astype(np.float64) @ embedding / lengths
            best[item_id] = max(best.get(item_id, -2.0), float(cosines.max()))
        return sorted(best.items(), key=lambda pair: -pair[1])


def embed(data: bytes) -> Vectors:
    """The embedding of an image file's bytes, `(1, dim)`."""
    return FakeEmbedder().embed(to_pixels(decode_image(data, ImageLimits()))[np.newaxis])


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyCatalogue]:
    root = tmp_path_factory.mktemp("tiny")
    image_root = root / "images"
    entries, partitions, indexed, rows = [], {}, [], {}
    for category, items in _ITEMS.items():
        embeddings: list[np.ndarray] = []
        numbers: list[int] = []
        for item_id, (metadata, colours) in items.items():
            number, first = len(indexed), len(embeddings)
            images = tuple(f"{category}/{number} é #{position}.png" for position in range(len(colours)))
            for path, colour in zip(images, colours, strict=True):
                (image_root / path).parent.mkdir(parents=True, exist_ok=True)
                (image_root / path).write_bytes(picture(colour, (24, 20), "PNG"))
                embeddings.append(embed((image_root / path).read_bytes())[0])
                numbers.append(number)
            item_rows = tuple(range(first, len(embeddings)))
            indexed.append(IndexedItem(Item(item_id, category, images, metadata), number, item_rows))
        n_images = len(embeddings)
        if category == SHOES:  # as after `--index-views all`: an augmented copy of each image behind the originals
            embeddings += [unit_rows(embedding[np.newaxis] + 0.02)[0] for embedding in embeddings]
            numbers += numbers
        partitions[category] = Partition.build(category, np.stack(embeddings), np.array(numbers, dtype=np.int64))
        entries.append(CategoryEntry(category, len(items), n_images, len(numbers), EXACT, 1.0))
        rows[category] = [(indexed[number].item.item_id, row) for number, row in zip(numbers, embeddings, strict=True)]
    write_items(root / "items.sqlite", indexed)
    snapshot = Snapshot(
        manifest=_manifest(tuple(entries), image_root),
        embedder=FakeEmbedder(),
        classifier=_classifier(rows),
        items=ItemStore(root / "items.sqlite"),
        partitions=partitions,
    )
    yield TinyCatalogue(snapshot, image_root, rows)
    snapshot.close()


def _classifier(rows: dict[str, list[tuple[str, np.ndarray]]]) -> Classifier:
    """A head that prefers the category whose mean embedding is nearest."""
    means = np.stack([np.mean([embedding for _, embedding in found], axis=0) for found in rows.values()])
    weights = np.ascontiguousarray(unit_rows(means).T * 8)
    return Classifier(tuple(rows), weights, np.zeros(len(rows), dtype=np.float32))


def _manifest(entries: tuple[CategoryEntry, ...], image_root: Path) -> Manifest:
    return fake_manifest(
        snapshot_id="20260101T000000-tiny",
        index_views="all",
        categories=entries,
        items=sum(entry.items for entry in entries),
        images=sum(entry.images for entry in entries),
        image_root=str(image_root),
        golden=tuple(FakeEmbedder().embed(golden_image())[0].tolist()),
    )


@pytest.fixture(scope="session")
def described(catalogue: TinyCatalogue, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snapshot]:
    """The snapshot with words: of each item its category, its colour, and if it is the first of its kind."""
    texts, embeddings = [], []
    for category, colour in ((HATS, "green"), (MUGS, "blue"), (SHOES, "red")):
        for number, item_id in enumerate(_ITEMS[category]):
            texts.append(f"{category} {colour}{'' if number else ' original'}")
            embeddings.append(next(row for row_id, row in catalogue.rows[category] if row_id == item_id))
    words = catalogue_words(tmp_path_factory.mktemp("words"), texts, np.stack(embeddings))
    yield replace(catalogue.snapshot, words=words)
    words.close()


@pytest.fixture
def text_client(described: Snapshot, watch_on: Callable[[Engine], SnapshotWatcher]) -> FlaskClient:
    """A client of a service that can be searched by text."""
    settings = ServiceSettings(max_upload_bytes=100_000, max_top_k=50)
    return create_app(watch_on(Engine(described)), settings, Metrics(0.98)).test_client()


@pytest.fixture
def engine(catalogue: TinyCatalogue) -> Engine:
    return Engine(catalogue.snapshot)


@pytest.fixture
def engine_with(catalogue: TinyCatalogue) -> Callable[..., Engine]:
    """Makes an engine whose classifier gives these probabilities whatever the query."""

    def make(probabilities: list[float], coverage: float = 0.98) -> Engine:
        bias = np.log(np.array(probabilities, dtype=np.float32))
        weights = np.zeros((FakeEmbedder.dim, len(bias)), dtype=np.float32)
        head = Classifier(catalogue.snapshot.classifier.categories, weights, bias)
        return Engine(replace(catalogue.snapshot, classifier=head), probe_coverage=coverage)

    return make


@pytest.fixture
def judging(catalogue: TinyCatalogue) -> Callable[..., Engine]:
    """Makes an engine that judges queries; by default, known are those with a mean cosine of 0.93 or more.

    The log odds hardly count: 1 weighs as much as 0.001 of cosine.
    """

    def make(*thresholds: float, probabilities: list[float] | None = None) -> Engine:
        rule = OodRule(np.zeros(2), np.array([1000.0, 1.0]), np.array(thresholds or [0.93] * 3))
        head = catalogue.snapshot.classifier
        if probabilities is not None:
            bias = np.log(np.array(probabilities, dtype=np.float32))
            head = replace(head, weights=np.zeros_like(head.weights), bias=bias)
        return Engine(replace(catalogue.snapshot, classifier=replace(head, ood_rule=rule)))

    return make


@pytest.fixture(scope="session")
def watch_on() -> Callable[[Engine], SnapshotWatcher]:
    """Makes a watch that serves an engine."""

    def make(engine: Engine) -> SnapshotWatcher:
        watch = SnapshotWatcher(lambda: SnapshotVersion(engine.snapshot_id, 0), lambda _: engine)
        watch.poll()
        return watch

    return make


@pytest.fixture
def client(catalogue: TinyCatalogue, watch_on: Callable[[Engine], SnapshotWatcher]) -> FlaskClient:
    settings = ServiceSettings(max_upload_bytes=100_000, max_top_k=50)
    engine = Engine(catalogue.snapshot, settings.image_limits)
    return create_app(watch_on(engine), settings, Metrics(0.98)).test_client()


@pytest.fixture(scope="session")
def assert_error() -> Callable[[TestResponse, int, str], str]:
    """The check of an error body; it returns the message."""

    def check(response: TestResponse, status: int, code: str) -> str:
        assert response.status_code == status, response.text
        assert response.mimetype == "application/json"
        assert response.json.keys() == {"error"}
        error = response.json["error"]
        assert error.keys() == {"code", "message", "request_id"}
        assert error["code"] == code, error
        assert error["message"]
        assert error["request_id"] == response.headers["X-Request-ID"] != ""
        return error["message"]

    return check
