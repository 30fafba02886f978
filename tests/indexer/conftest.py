"""Fixtures for the indexer's tests."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from indexer.catalogue.reader import read_catalogue
from indexer.console.progress import SilentReporter
from indexer.embedding.augmentation import Augmentation
from indexer.embedding.embed_catalogue import EmbeddedCatalogue, embed_catalogue
from indexer.embedding.embed_image import EmbeddingConfig
from shared.catalogue.item_store import ItemStore
from shared.catalogue.item_writer import write_items
from shared.images.limits import ImageLimits
from shared.model.classifier import Classifier
from shared.snapshot.snapshot import Snapshot
from tests.support.builders.partitions import open_partitions
from tests.support.fakes import FakeEmbedder, fake_manifest, picture

_ITEMS = [
    {"item_id": "r1", "category": "warm", "images": ["red.png", "orange.png"], "title": "From $^$ 🚲"},
    {"item_id": "b1", "category": "cold", "images": ["blue.png"], "title": "Blue"},
    {"item_id": "r2", "category": "warm", "images": ["tomato.png"]},
    {"item_id": "b2", "category": "cold", "images": ["teal.png", "navy.png", "cyan.png"]},
]


@pytest.fixture
def embedded(tmp_path: Path) -> EmbeddedCatalogue:
    """Four items of two categories, one to three images each, with one augmented copy per image."""
    for entry in _ITEMS:
        for name in entry["images"]:
            (tmp_path / name).write_bytes(picture(name.removesuffix(".png"), file_format="PNG"))
    path = tmp_path / "items.jsonl"
    path.write_text("\n".join(json.dumps(entry) for entry in _ITEMS))
    with SilentReporter().stage("embed") as stage:
        how = EmbeddingConfig(FakeEmbedder(), Augmentation(copies=1), ImageLimits(), threads=2)
        return embed_catalogue(read_catalogue(path), how, stage)


@pytest.fixture
def snapshot(embedded: EmbeddedCatalogue, tmp_path: Path) -> Iterator[Snapshot]:
    """An open snapshot of `embedded` whose embedder and classifier go by colour."""
    partitions, items = open_partitions(embedded)
    write_items(tmp_path / "items.sqlite", items)
    weights = np.zeros((FakeEmbedder.dim, 2), np.float32)
    weights[0, 1] = weights[2, 0] = 20.0  # red is warm, blue is cold
    opened = Snapshot(
        manifest=fake_manifest(items=4, images=7, image_root=str(tmp_path)),
        embedder=FakeEmbedder(),
        classifier=Classifier(("cold", "warm"), weights, np.zeros(2, np.float32)),
        items=ItemStore(tmp_path / "items.sqlite"),
        partitions=partitions,
    )
    yield opened
    opened.close()


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    """Five photos, one of which cannot be read; the classifier takes red for warm and blue for cold."""
    root = tmp_path / "queries"
    for category, colours in {"warm": ["red", "blue"], "cold": ["navy"], "hats": ["red"]}.items():
        (root / category).mkdir(parents=True)
        for colour in colours:
            (root / category / f"{colour}.png").write_bytes(picture(colour, (50, 40), "PNG"))
    (root / "cold/broken.png").write_text("no picture")
    return root


@pytest.fixture
def captions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Captions of the last sheet."""
    found: list[str] = []
    save = Figure.savefig

    def watch(figure: Figure, *arguments: object, **options: object) -> None:
        found[:] = [axes.get_title() for axes in figure.axes]
        save(figure, *arguments, **options)

    monkeypatch.setattr(Figure, "savefig", watch)
    return found
