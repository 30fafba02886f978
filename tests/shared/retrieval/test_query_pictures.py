import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.catalogue.item_store import ItemStore
from shared.catalogue.item_writer import write_items
from shared.catalogue.items import IndexedItem, Item
from shared.index.partition import Partition
from shared.model.classifier import Classifier
from shared.retrieval.ood_verdict import IN_CATALOGUE, NOT_EVALUATED
from shared.retrieval.query_pictures import MAX_PICTURES, QueryPictures, image_views
from shared.snapshot.snapshot import Snapshot
from shared.vectors import unit_rows
from tests.support.fakes import FakeEmbedder, fake_manifest

_DIM = FakeEmbedder.dim
_IN_BOTH, _IN_MUGS = b"a file of both", b"a file of mugs"
_QUERY = unit_rows(np.ones((1, _DIM)))


@pytest.fixture
def snapshot(tmp_path: Path) -> Iterator[Snapshot]:
    """A hat and a mug that share an image file, and a second file of the mug; the classifier says hats."""
    digests = [hashlib.sha256(data).digest() for data in (_IN_BOTH, _IN_MUGS)]
    items = [
        IndexedItem(Item("mug", "mugs", ("1.jpg", "2.jpg")), 0, (1, 0), (digests[0], digests[1])),
        IndexedItem(Item("hat", "hats", ("1.jpg",)), 1, (0,), (digests[0],)),
    ]
    write_items(tmp_path / "items.sqlite", items)
    rows = unit_rows(np.random.default_rng(0).normal(size=(3, _DIM)))
    opened = Snapshot(
        manifest=fake_manifest(),
        embedder=FakeEmbedder(),
        classifier=Classifier(("hats", "mugs"), np.zeros((_DIM, 2), np.float32), np.array([3, 0], np.float32)),
        items=ItemStore(tmp_path / "items.sqlite"),
        partitions={
            "hats": Partition.build("hats", rows[:1], np.array([1])),
            "mugs": Partition.build("mugs", rows[1:], np.array([0, 0])),
        },
    )
    yield opened
    opened.close()


def test_a_file_of_the_catalogue_is_of_its_items_category(snapshot: Snapshot) -> None:
    assert QueryPictures.of_image(snapshot, _IN_MUGS, _QUERY) == QueryPictures(_QUERY, "mugs", IN_CATALOGUE)


def test_a_file_of_several_categories_is_of_the_most_probable_one(snapshot: Snapshot) -> None:
    assert QueryPictures.of_image(snapshot, _IN_BOTH, _QUERY).category == "hats"
    turned = replace(snapshot, classifier=replace(snapshot.classifier, bias=np.array([0, 3], np.float32)))
    assert QueryPictures.of_image(turned, _IN_BOTH, _QUERY).category == "mugs"


def test_any_other_file_is_left_to_the_classifier(snapshot: Snapshot) -> None:
    assert QueryPictures.of_image(snapshot, _IN_MUGS + b"\0", _QUERY) == QueryPictures(_QUERY)


def test_the_pictures_of_an_item_are_the_rows_of_its_images(snapshot: Snapshot) -> None:
    query = QueryPictures.of_item(snapshot, snapshot.items.by_id("mug"))
    assert np.array_equal(query.vectors, snapshot.partition("mugs").embeddings([1, 0]))
    assert (query.category, query.ood_verdict, query.excluded_items) == ("mugs", NOT_EVALUATED, frozenset())


class _RowNumbers:
    def embeddings(self, rows: Any) -> np.ndarray:
        return np.asarray(rows)


@pytest.mark.parametrize("n_images", [1, 5, MAX_PICTURES, MAX_PICTURES + 1, 300])
def test_of_very_many_images_some_are_taken_spread_evenly(snapshot: Snapshot, n_images: int) -> None:
    indexed = IndexedItem(Item("mug", "mugs", tuple(map(str, range(n_images)))), 0, tuple(range(n_images)))
    fake: Any = {"mugs": _RowNumbers()}
    chosen = QueryPictures.of_item(replace(snapshot, partitions=fake), indexed).vectors.tolist()
    assert len(chosen) == min(n_images, MAX_PICTURES)
    assert chosen[0] == 0
    assert chosen == sorted(set(chosen))
    if len(chosen) > 1:
        assert np.ptp(np.diff(chosen)) <= 1


def test_the_second_view_is_the_mirror_image() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    assert np.array_equal(image_views(pixels), [pixels])
    assert np.array_equal(image_views(pixels, 2), [pixels, pixels[:, ::-1]])
