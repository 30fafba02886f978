import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.snapshots.published import PublishedSnapshot, find_published, image_keys, preprocessing_of, snapshot_states
from shared.catalogue.item_writer import write_items
from shared.catalogue.items import IndexedItem, Item
from shared.images.preprocessing import DEFAULT_PREPROCESSING, Preprocessing
from shared.index.partition import Partition
from shared.manifest import CategoryEntry, Manifest
from shared.snapshot.checksums import sha256_of
from shared.snapshot.data_directory import DataDirectory, SnapshotPaths
from tests.support.fakes import FakeEmbedder

_WEIGHTS = b"weights"


class _Listener:
    """A reporter that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    """One category of two items, published as `1`."""
    (tmp_path / "weights.h5").write_bytes(_WEIGHTS)
    data = DataDirectory(tmp_path / "data")
    paths = data.paths("1")
    paths.partitions.mkdir(parents=True)
    paths.embedder.write_bytes(b"model")
    items = [
        IndexedItem(Item(f"{number}", "bikes", ("x.png",)), number, (number,), (bytes([number]) * 32,))
        for number in range(2)
    ]
    write_items(paths.items, items)
    Partition.build("bikes", np.eye(2, 8, dtype=np.float32), np.arange(2)).write(paths.partitions)
    _manifest(paths, f"weights.h5 (SHA-256 {sha256_of(tmp_path / 'weights.h5')})").write(paths.manifest)
    data.current.write_text("1\n")
    return data


def _manifest(paths: SnapshotPaths, weights: str, preprocessing: str = DEFAULT_PREPROCESSING.name) -> Manifest:
    return Manifest(
        format_version=1,
        snapshot_id="1",
        created_at="2026-01-01T00:00:00+00:00",
        parecido_version="0",
        backbone="efficientnet_b0",
        weights=weights,
        embedder_id=FakeEmbedder.embedder_id,
        dim=8,
        metric="inner_product",
        preprocessing=preprocessing,
        recipe="r",
        index_views="original",
        categories=(CategoryEntry("bikes", 2, 2, 2, "IndexFlatIP", 1.0, "content"),),
        items=2,
        images=2,
        skipped=0,
        image_root="/",
        content="c",
        golden=(),
        classifier={},
        settings={},
        checksums=paths.checksums(),
    )


def _find(data: DataDirectory) -> tuple[PublishedSnapshot | None, list[str]]:
    listener: Any = _Listener()
    return find_published(data, listener), listener.lines


def _found(data: DataDirectory) -> PublishedSnapshot:
    published, lines = _find(data)
    assert published is not None, lines
    return published


def test_the_published_snapshot_is_found(data: DataDirectory) -> None:
    published, lines = _find(data)
    assert published is not None
    assert (published.paths, published.manifest.snapshot_id, lines) == (data.paths("1"), "1", [])


def test_before_the_first_build_nothing_is_reported(tmp_path: Path) -> None:
    assert _find(DataDirectory(tmp_path)) == (None, [])


def test_another_preprocessing_can_not_be_used(data: DataDirectory) -> None:
    paths = data.paths("1")
    _manifest(paths, "w", preprocessing="another").write(paths.manifest)
    assert _find(data)[0] is None
    assert preprocessing_of(data) == DEFAULT_PREPROCESSING


@pytest.mark.parametrize("kept", [Preprocessing(224, 1), Preprocessing(224, 2), Preprocessing(160)])
def test_every_preprocessing_is_kept(data: DataDirectory, kept: Preprocessing) -> None:
    paths = data.paths("1")
    _manifest(paths, "w", preprocessing=kept.name).write(paths.manifest)
    assert _found(data).manifest.preprocessing == preprocessing_of(data).name == kept.name
    paths.embedder.unlink()  # the cache still has embeddings of that name
    assert _find(data)[0] is None
    assert preprocessing_of(data) == preprocessing_of(data, kept.side_px) == kept


def test_another_side_gets_the_newest_revision(data: DataDirectory) -> None:
    paths = data.paths("1")
    _manifest(paths, "w", preprocessing=Preprocessing(224, 1).name).write(paths.manifest)
    assert preprocessing_of(data, 288) == Preprocessing(288)


def test_a_new_data_directory_gets_the_newest_preprocessing(tmp_path: Path) -> None:
    assert preprocessing_of(DataDirectory(tmp_path)) == DEFAULT_PREPROCESSING
    assert preprocessing_of(DataDirectory(tmp_path), 160) == Preprocessing(160)


def _damage_the_seal(data: DataDirectory) -> None:
    content = json.loads(data.paths("1").manifest.read_text(encoding="utf-8"))
    data.paths("1").manifest.write_text(json.dumps({**content, "items": 3}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data.paths("1").embedder.write_bytes(b"modem"), "embedder.tflite is damaged"),
        (lambda data: data.paths("1").items.unlink(), "items.sqlite is missing"),
        (lambda data: data.current.write_text("2\n"), "names '2', which is not a snapshot"),
        (lambda data: data.current.write_bytes(b"\xff\xfe"), "can't be read"),
        (_damage_the_seal, "its seal does not match"),
    ],
)
def test_a_damaged_snapshot_is_reported_and_not_used(data: DataDirectory, damage: Any, message: str) -> None:
    damage(data)
    published, lines = _find(data)
    assert published is None
    assert len(lines) == 1
    assert lines[0].startswith("nothing of the published snapshot is reused: ")
    assert message in lines[0]


def test_the_model_is_reused_if_it_is_the_requested_one(data: DataDirectory, tmp_path: Path) -> None:
    published = _found(data)
    assert published.model("efficientnet_b0", None) == b"model"
    assert published.model("efficientnet_lite0", None) is None
    assert published.model("auto", None) is None
    copy = tmp_path / "the same under another name.h5"
    copy.write_bytes(_WEIGHTS)
    assert published.model("efficientnet_b0", copy) == b"model"
    copy.write_bytes(b"others")
    assert published.model("efficientnet_b0", copy) is None
    assert published.model("efficientnet_b0", tmp_path / "gone.h5") is None


def test_an_entry_by_its_category(data: DataDirectory) -> None:
    published = _found(data)
    assert published.entry("bikes") == published.manifest.categories[0]
    assert published.entry("mice") is None


def test_image_keys_are_by_category_and_content(data: DataDirectory) -> None:
    keys = _found(data).image_keys
    assert keys.dtype == np.uint64
    images = [("bikes", b"\1" * 32), ("bikes", b"\0" * 32), ("bikes", b"\0" * 32)]
    np.testing.assert_array_equal(keys, image_keys(images))
    assert len(keys) == 2
    assert not np.isin(image_keys([("mice", b"\0" * 32), ("bikes", b"\2" * 32)]), keys).any()
    assert len(image_keys([])) == 0


def test_image_keys_of_a_hundred_thousand_images_differ() -> None:
    images = [("bikes", number.to_bytes(32, "big")) for number in range(100_000)]
    keys = image_keys(images)
    assert len(keys) == 100_000
    assert (np.diff(keys) > 0).all()


def test_states_hold_category_images_and_metadata(data: DataDirectory) -> None:
    assert snapshot_states(_found(data).paths) == {
        str(number): ("bikes", (bytes([number]) * 32,), {}) for number in range(2)
    }
