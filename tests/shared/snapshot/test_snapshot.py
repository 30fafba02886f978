"""Opening a real snapshot, and every damage that must keep one from being opened."""

import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from shared.catalogue.item_writer import write_items
from shared.catalogue.items import IndexedItem, Item
from shared.errors import SnapshotError, UnknownCategory
from shared.images.decode import decode_image
from shared.images.limits import ImageLimits
from shared.images.preprocessing import DEFAULT_SIDE_PX, Preprocessing, to_pixels
from shared.index.partition import Partition
from shared.manifest import CategoryEntry, Manifest
from shared.model.classifier import Classifier
from shared.model.embedder import LiteRtEmbedder
from shared.model.golden import golden_image
from shared.snapshot import data_directory as module
from shared.snapshot.data_directory import DataDirectory, SnapshotPaths
from shared.snapshot.snapshot import Snapshot
from shared.snapshot.verify_files import verify_files
from shared.vectors import Pixels
from tests.support.fakes import fake_manifest, picture

_ID = "20250102T030405-abcdef"
_COLOURS = {"Warm & Hot": ("red", "orange", "yellow"), "cold": ("blue", "navy")}
_FILES = (
    "embedder.tflite",
    "classifier.npz",
    "items.sqlite",
    "partitions/cold.faiss",
    "partitions/cold.rows.npy",
    "report/skipped.jsonl",
)


def _pixels(colour: str) -> Pixels:
    return to_pixels(decode_image(picture(colour), ImageLimits()))[np.newaxis]


def _write(paths: SnapshotPaths, model: bytes) -> None:
    """A snapshot of an item a colour, all by hand."""
    embedder = LiteRtEmbedder(model, interpreters=1)
    embeddings = {name: np.concatenate([embedder.embed(_pixels(c)) for c in row]) for name, row in _COLOURS.items()}
    paths.partitions.mkdir(parents=True)
    paths.report.mkdir()
    paths.embedder.write_bytes(model)
    weights = np.stack([found.mean(axis=0) for found in embeddings.values()], axis=1)
    Classifier(tuple(_COLOURS), 50 * weights, np.zeros(2, np.float32), 1.5).save(paths.classifier)
    numbered = [(name, colour, row) for name, colours in _COLOURS.items() for row, colour in enumerate(colours)]
    write_items(
        paths.items,
        [
            IndexedItem(Item(colour, name, (f"{name}/{colour}.jpg",), {"title": colour.title()}), number, (row,))
            for number, (name, colour, row) in enumerate(numbered)
        ],
    )
    Partition.build("Warm & Hot", embeddings["Warm & Hot"], np.array([0, 1, 2], dtype=np.int64)).write(paths.partitions)
    Partition.build("cold", embeddings["cold"], np.array([3, 4], dtype=np.int64)).write(paths.partitions)
    (paths.report / "skipped.jsonl").write_text("{}\n", encoding="utf-8")
    _manifest(paths, embedder).write(paths.manifest)


def _manifest(paths: SnapshotPaths, embedder: LiteRtEmbedder) -> Manifest:
    entries = (CategoryEntry(name, len(c), len(c), len(c), "IndexFlatIP", 1.0) for name, c in _COLOURS.items())
    return fake_manifest(
        snapshot_id=_ID,
        embedder_id=embedder.embedder_id,
        dim=embedder.dim,
        categories=tuple(entries),
        items=5,
        images=5,
        skipped=1,
        golden=tuple(embedder.embed(golden_image())[0].tolist()),
        checksums=paths.checksums(),
    )


@pytest.fixture(scope="module")
def written(lite0_tflite: Path, tmp_path_factory: pytest.TempPathFactory) -> SnapshotPaths:
    """A good snapshot, to be left as it is."""
    paths = DataDirectory(tmp_path_factory.mktemp("data")).paths(_ID)
    _write(paths, lite0_tflite.read_bytes())
    return paths


@pytest.fixture
def copied(written: SnapshotPaths, tmp_path: Path) -> SnapshotPaths:
    """A copy of it, to be damaged."""
    shutil.copytree(written.root, tmp_path / _ID)
    return SnapshotPaths(tmp_path / _ID)


def _rewrite(paths: SnapshotPaths, **changes: Any) -> None:
    """Another manifest, with right checksums and a right seal."""
    manifest = Manifest.read(paths.manifest)
    replace(manifest, checksums=paths.checksums(), **changes).write(paths.manifest)


# Opening


@pytest.mark.tensorflow
def test_an_open_snapshot_answers_queries(written: SnapshotPaths) -> None:
    with closing(Snapshot.open(written, interpreters=1)) as snapshot:
        query = snapshot.embedder.embed(_pixels("navy"))
        assert snapshot.classifier.categories[snapshot.classifier.probabilities(query)[0].argmax()] == "cold"
        (hits,) = snapshot.partition("cold").search(query, 10)
        found = snapshot.items.by_numbers([hit.item_number for hit in hits])
        assert [indexed.item.item_id for indexed in found] == ["navy", "blue"]
        assert hits[0].score == pytest.approx(1, abs=1e-5)
        assert snapshot.items.by_id("orange").item.metadata == {"title": "Orange"}


@pytest.mark.tensorflow
def test_an_open_snapshot_knows_what_it_is(written: SnapshotPaths) -> None:
    with closing(Snapshot.open(written)) as snapshot:
        assert snapshot.snapshot_id == _ID
        assert list(snapshot.partitions) == list(_COLOURS)
        assert snapshot.manifest.embedder_id == snapshot.embedder.embedder_id
        assert set(snapshot.manifest.checksums) > set(_FILES)


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", ["Cold", "", "cold.faiss", "../cold"])
def test_an_unknown_category_is_named(written: SnapshotPaths, name: str) -> None:
    with closing(Snapshot.open(written, interpreters=1)) as snapshot, pytest.raises(UnknownCategory) as caught:
        snapshot.partition(name)
    assert repr(name) in str(caught.value)


@pytest.mark.tensorflow
def test_opening_changes_nothing(copied: SnapshotPaths) -> None:
    Snapshot.open(copied, interpreters=1).close()
    assert copied.checksums() == Manifest.read(copied.manifest).checksums


@pytest.mark.tensorflow
def test_a_file_that_the_manifest_does_not_list_does_no_harm(copied: SnapshotPaths) -> None:
    (copied.root / ".DS_Store").write_bytes(b"")
    Snapshot.open(copied, interpreters=1).close()


# Damage


def _flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.tensorflow
@pytest.mark.parametrize("file", _FILES)
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_flip_a_byte, "is damaged"),
        (_truncate, "is damaged"),
        (_empty, "is damaged"),
        (Path.unlink, "is missing"),
        (_replace_by_directory, "is missing"),
    ],
)
def test_a_damaged_file_is_named(copied: SnapshotPaths, file: str, damage: Callable[[Path], None], said: str) -> None:
    damage(copied.root / file)
    with pytest.raises(SnapshotError, match=said) as caught:
        Snapshot.open(copied)
    assert str(copied.root / file) in str(caught.value)


@pytest.mark.tensorflow
@pytest.mark.parametrize("damage", [_flip_a_byte, _empty, Path.unlink, _replace_by_directory])
def test_a_damaged_manifest_is_named(copied: SnapshotPaths, damage: Callable[[Path], None]) -> None:
    damage(copied.manifest)
    with pytest.raises(SnapshotError) as caught:
        Snapshot.open(copied)
    assert str(copied.manifest) in str(caught.value)


def test_a_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(SnapshotError, match=r"nowhere.manifest\.json can't be read"):
        Snapshot.open(SnapshotPaths(tmp_path / "nowhere"))


# Parts that are whole, but not of one snapshot


@pytest.mark.tensorflow
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"preprocessing": "centre-crop/1"}, r"'centre-crop/1'; expected 'geometric-mean-square.*: build it again"),
        (
            {"preprocessing": Preprocessing(DEFAULT_SIDE_PX + 32).name},
            f"takes images of {DEFAULT_SIDE_PX} px; expected {DEFAULT_SIDE_PX + 32} px, as in the manifest",
        ),
        ({"items": 6}, "has 5 items; its manifest expects 6"),
        ({"dim": 1281}, r"1280 dimensions; expected 1281"),
        ({"golden": (1.0, *[0.0] * 1279)}, r"cosine 0\.\d+; expected at least 0\.999"),
        ({"golden": (1.0, 0.0)}, r"the golden embedding has shape \(2,\); expected \(1280,\)"),
        ({"categories": ()}, "classifier and manifest have different categories"),
    ],
)
def test_a_manifest_of_another_snapshot_is_rejected(copied: SnapshotPaths, changes: dict[str, Any], said: str) -> None:
    _rewrite(copied, **changes)
    with pytest.raises(SnapshotError, match=said):
        Snapshot.open(copied, interpreters=1)


@pytest.mark.tensorflow
@pytest.mark.parametrize("preprocessing", [Preprocessing(revision=1).name, Preprocessing(revision=2).name])
def test_snapshots_of_every_preprocessing_are_opened(copied: SnapshotPaths, preprocessing: str) -> None:
    _rewrite(copied, preprocessing=preprocessing)
    with closing(Snapshot.open(copied, interpreters=1)) as snapshot:
        assert snapshot.preprocessing.name == preprocessing


@pytest.mark.tensorflow
@pytest.mark.parametrize("counts", [{"rows": 4}, {"items": 1}])
def test_a_partition_of_another_snapshot_is_rejected(copied: SnapshotPaths, counts: dict[str, int]) -> None:
    first, *rest = Manifest.read(copied.manifest).categories
    _rewrite(copied, categories=(replace(first, **counts), *rest))
    with pytest.raises(SnapshotError, match="'Warm & Hot' has 3 rows of 3 items in 1280 dimensions; expected"):
        Snapshot.open(copied, interpreters=1)


@pytest.mark.tensorflow
def test_a_classifier_whose_categories_stand_in_another_order_is_rejected(copied: SnapshotPaths) -> None:
    head = Classifier.open(copied.classifier)
    replace(head, categories=head.categories[::-1]).save(copied.classifier)
    _rewrite(copied)
    with pytest.raises(SnapshotError, match="classifier and manifest have different categories"):
        Snapshot.open(copied, interpreters=1)


@pytest.mark.tensorflow
def test_a_classifier_for_embeddings_of_another_length_is_rejected(copied: SnapshotPaths) -> None:
    head = Classifier.open(copied.classifier)
    replace(head, weights=head.weights[:-1]).save(copied.classifier)
    _rewrite(copied)
    with pytest.raises(SnapshotError, match="takes embeddings of 1279 dimensions; expected 1280"):
        Snapshot.open(copied, interpreters=1)


def test_a_large_file_of_vectors_is_checked_by_samples_and_by_verify_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAMPLED_FROM_BYTES", 1 << 20)
    paths = SnapshotPaths(tmp_path)
    paths.partitions.mkdir()
    content = np.random.default_rng(0).bytes(20 << 20)
    for name in ("shoes.faiss", "shoes.approximate.faiss", "small.faiss"):
        (paths.partitions / name).write_bytes(content[: 100 if name == "small.faiss" else None])
    manifest = fake_manifest(checksums=paths.checksums(), samples=paths.samples())
    assert list(manifest.samples) == ["partitions/shoes.faiss"]
    verify_files(paths, manifest, by_samples=True)
    for offset, by_samples in ((0, True), (len(content) - 1, True), (100_000, False)):
        damaged = bytearray(content)
        damaged[offset] ^= 1
        (paths.partitions / "shoes.faiss").write_bytes(damaged)
        if not by_samples:
            verify_files(paths, manifest, by_samples=True)  # it lies between the samples
        with pytest.raises(SnapshotError, match=r"shoes\.faiss is damaged"):
            verify_files(paths, manifest, by_samples=by_samples)
    (paths.partitions / "shoes.faiss").write_bytes(content[:-1])
    with pytest.raises(SnapshotError, match="a sample of it has changed"):
        verify_files(paths, manifest, by_samples=True)
    (paths.partitions / "shoes.faiss").write_bytes(content)
    (paths.partitions / "shoes.approximate.faiss").write_bytes(content[:100_000] + b"x" + content[100_001:])
    with pytest.raises(SnapshotError, match=r"shoes.approximate.faiss is damaged: its SHA-256"):
        verify_files(paths, manifest, by_samples=True)
