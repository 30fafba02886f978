from dataclasses import replace
from pathlib import Path

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.partitions import build as module
from indexer.partitions.build import plan_partitions
from indexer.partitions.recall import ann_recall_at_10
from indexer.snapshots.published import PublishedSnapshot
from shared.catalogue.items import IndexedItem, Item
from shared.index.partition import Partition
from shared.index.partition_files import partition_file, rows_file
from shared.index.stored_vectors import StoredVectors
from shared.snapshot.data_directory import SnapshotPaths
from shared.vectors import Vectors, unit_rows
from tests.support.builders.partitions import make_partitions, open_partitions
from tests.support.fakes import fake_manifest


def _random(n: int, dim: int = 16, seed: int = 0) -> Vectors:
    return unit_rows(np.random.default_rng(seed).normal(size=(n, dim)))


def _build(embedded: EmbeddedCatalogue, index_views: str) -> tuple[dict[str, Partition], list[IndexedItem]]:
    partitions, items = open_partitions(embedded, index_views)
    assert list(partitions) == sorted({item.category for item in embedded.items})
    return partitions, items


@pytest.fixture
def mixed() -> EmbeddedCatalogue:
    """Three categories whose items stand mixed up, one to four images each, two augmented copies an image."""
    random = np.random.default_rng(1)
    counts = random.integers(1, 5, 30)
    items = tuple(
        Item(f"item {number}", "abc"[random.integers(3)], tuple(f"{number}-{i}.jpg" for i in range(count)))
        for number, count in enumerate(counts)
    )
    views = _random(3 * int(counts.sum())).reshape(-1, 3, 16)
    digests = tuple(f"digest of {number}-{i}".encode() for number, count in enumerate(counts) for i in range(count))
    return EmbeddedCatalogue(items, np.repeat(np.arange(30), counts), digests, views, (), len(views))


@pytest.mark.parametrize("index_views", ["original", "all"])
def test_the_rows_of_an_item_hold_its_original_embeddings(mixed: EmbeddedCatalogue, index_views: str) -> None:
    partitions, items = _build(mixed, index_views)
    assert [indexed.item for indexed in items] == list(mixed.items)
    assert [indexed.number for indexed in items] == list(range(30))
    for indexed in items:
        part = partitions[indexed.item.category]
        assert len(indexed.rows) == len(indexed.item.images)
        np.testing.assert_array_equal(
            part.embeddings(indexed.rows), mixed.originals[mixed.image_items == indexed.number]
        )
        assert set(part.item_numbers()[list(indexed.rows)]) == {indexed.number}


@pytest.mark.parametrize(("index_views", "views"), [("original", 1), ("all", 3)])
def test_a_partition_holds_every_view_of_its_category_and_nothing_else(
    mixed: EmbeddedCatalogue, index_views: str, views: int
) -> None:
    partitions, _ = _build(mixed, index_views)
    labels = np.array([mixed.items[number].category for number in mixed.image_items])
    for category, part in partitions.items():
        mine = labels == category
        assert part.n_rows == views * mine.sum()
        assert part.n_items == len(set(mixed.image_items[mine]))
        wanted = {
            (number, row.tobytes())
            for number, rows in zip(mixed.image_items[mine], mixed.views[mine, :views], strict=True)
            for row in rows
        }
        every_row = part.embeddings(range(part.n_rows))
        assert {(n, row.tobytes()) for n, row in zip(part.item_numbers(), every_row, strict=True)} == wanted


@pytest.mark.parametrize("index_views", ["original", "all"])
def test_every_view_that_is_indexed_finds_its_own_item(mixed: EmbeddedCatalogue, index_views: str) -> None:
    partitions, _ = _build(mixed, index_views)
    for number, views in zip(mixed.image_items, mixed.views, strict=True):
        queries = views if index_views == "all" else views[:1]
        found = partitions[mixed.items[number].category].search(queries, 1)
        assert [hits[0].item_number for hits in found] == [number] * len(queries)
        assert all(hits[0].score == pytest.approx(1.0, abs=1e-6) for hits in found)


@pytest.mark.parametrize("index_views", ["original", "all"])
def test_the_pieces_that_embeddings_come_in_change_nothing(
    mixed: EmbeddedCatalogue, monkeypatch: pytest.MonkeyPatch, index_views: str
) -> None:
    whole, _ = _build(mixed, index_views)
    monkeypatch.setattr(module, "_CHUNK", 7)
    pieces, _ = _build(mixed, index_views)
    for category, part in whole.items():
        assert part.n_rows > 7
        every_row = range(part.n_rows)
        np.testing.assert_array_equal(pieces[category].embeddings(every_row), part.embeddings(every_row))
        np.testing.assert_array_equal(pieces[category].item_numbers(), part.item_numbers())


class _Counting:
    """Views that count the images whose embeddings are read, and the most at a time."""

    def __init__(self, views: NDArray[np.float32]) -> None:
        self._views = views
        self.shape = views.shape
        self.read: list[int] = []
        self.most = 0

    def __getitem__(self, images: NDArray[np.int64]) -> NDArray[np.float32]:
        self.read += images.tolist()
        self.most = max(self.most, len(images))
        return self._views[images]


def test_planning_reads_no_embedding_and_building_reads_each_once(mixed: EmbeddedCatalogue, tmp_path: Path) -> None:
    views = _Counting(np.asarray(mixed.views))
    counted = replace(mixed, views=views)
    planned, _ = plan_partitions(counted, "original", None)
    assert views.read == []
    make_partitions(counted, "original", tmp_path)
    assert sorted(views.read) == list(range(len(mixed.digests)))
    assert views.most == max(len(one.images) for one in planned)  # one partition at a time


def _published(embedded: EmbeddedCatalogue, root: Path) -> PublishedSnapshot:
    """A snapshot of the partitions alone, without embedder, classifier and items."""
    paths = SnapshotPaths(root)
    paths.partitions.mkdir(parents=True)
    entries, _ = make_partitions(embedded, "original", paths.partitions)
    return PublishedSnapshot(paths, fake_manifest(categories=tuple(entries)))


def _inode(directory: Path, category: str) -> int:
    return (directory / partition_file(category)).stat().st_ino


def test_the_same_images_take_the_published_index_over_and_read_nothing(
    mixed: EmbeddedCatalogue, tmp_path: Path
) -> None:
    """Other numbers and other metadata are no other images."""
    published = _published(mixed, tmp_path / "old")
    other_ids = tuple(replace(item, item_id=f"new {item.item_id}") for item in mixed.items)
    views = _Counting(np.asarray(mixed.views))
    entries, _ = make_partitions(replace(mixed, items=other_ids, views=views), "original", tmp_path, published)
    assert views.read == []
    assert entries == list(published.manifest.categories)
    for entry in entries:
        assert _inode(tmp_path, entry.name) == _inode(published.paths.partitions, entry.name)
        assert (tmp_path / rows_file(entry.name)).stat().st_nlink == 1


def test_where_items_got_other_numbers_their_rows_are_written_anew(mixed: EmbeddedCatalogue, tmp_path: Path) -> None:
    published = _published(mixed, tmp_path / "old")
    gone = next(place for place, item in enumerate(mixed.items) if item.category == "a")
    left = mixed.image_items != gone
    numbers = mixed.image_items[left] - (mixed.image_items[left] > gone)
    smaller = EmbeddedCatalogue(
        mixed.items[:gone] + mixed.items[gone + 1 :],
        numbers,
        tuple(digest for digest, here in zip(mixed.digests, left, strict=True) if here),
        mixed.views[np.flatnonzero(left)],
        (),
        int(left.sum()),
    )
    entries, items = make_partitions(smaller, "original", tmp_path, published)
    same = {
        entry.name: _inode(tmp_path, entry.name) == _inode(published.paths.partitions, entry.name) for entry in entries
    }
    assert same == {"a": False, "b": True, "c": True}
    for indexed in items:
        part = Partition.open(indexed.item.category, tmp_path)
        assert set(part.item_numbers()[list(indexed.rows)]) == {indexed.number}
        np.testing.assert_array_equal(
            part.embeddings(indexed.rows), smaller.originals[smaller.image_items == indexed.number]
        )


@pytest.mark.parametrize("change", [{"recipe": "another"}, {"digests": None}])
def test_other_embeddings_take_nothing_over(
    mixed: EmbeddedCatalogue, tmp_path: Path, change: dict[str, object]
) -> None:
    published = _published(mixed, tmp_path / "old")
    if "digests" in change:
        change = {"digests": tuple(b"new" + digest for digest in mixed.digests)}
    planned, _ = plan_partitions(replace(mixed, **change), "original", published)
    assert [one.published for one in planned] == [None] * 3


def test_other_views_and_another_order_take_nothing_over(mixed: EmbeddedCatalogue, tmp_path: Path) -> None:
    published = _published(mixed, tmp_path / "old")
    assert [one.published for one in plan_partitions(mixed, "all", published)[0]] == [None] * 3
    assert all(one.published is not None for one in plan_partitions(mixed, "original", published)[0])
    back = EmbeddedCatalogue(
        mixed.items[::-1], 29 - mixed.image_items[::-1], mixed.digests[::-1], mixed.views[::-1], (), mixed.entries
    )
    assert [one.published for one in plan_partitions(back, "original", published)[0]] == [None] * 3


def test_a_partition_without_a_content_is_never_taken_over(mixed: EmbeddedCatalogue, tmp_path: Path) -> None:
    """Snapshots of before say nothing of it."""
    published = _published(mixed, tmp_path / "old")
    entries = tuple(replace(entry, content="") for entry in published.manifest.categories)
    old = PublishedSnapshot(published.paths, fake_manifest(categories=entries))
    assert [one.published for one in plan_partitions(mixed, "original", old)[0]] == [None] * 3


@pytest.mark.parametrize("index_views", ["original", "all"])
def test_exact_partitions_have_recall_1(mixed: EmbeddedCatalogue, index_views: str) -> None:
    partitions, _ = _build(mixed, index_views)
    assert {name: ann_recall_at_10(part) for name, part in partitions.items()} == {"a": 1.0, "b": 1.0, "c": 1.0}


@pytest.mark.parametrize("rows", [1, 3, 10, 11, 300])
def test_recall_of_partitions_of_any_size(rows: int) -> None:
    assert ann_recall_at_10(Partition.build("c", _random(rows), np.arange(rows))) == 1.0


def test_equal_pictures_count_as_right_whichever_is_found() -> None:
    part = Partition.build("c", np.repeat(_random(2), 50, axis=0), np.arange(100))
    assert ann_recall_at_10(part) == 1.0


class _Rearranged:
    """An index that answers with the rows of another order than it holds."""

    metric_type = faiss.METRIC_INNER_PRODUCT

    def __init__(self, embeddings: Vectors, order: NDArray[np.int64]) -> None:
        self._index = faiss.IndexFlatIP(embeddings.shape[1])
        self._index.add(embeddings)
        self._order = order
        self.ntotal, self.d = embeddings.shape

    def search(self, queries: Vectors, k: int, *, params: None = None) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        scores, rows = self._index.search(queries, k, params=params)
        return scores, self._order[rows]

    def reconstruct_batch(self, rows: NDArray[np.int64]) -> Vectors:
        return self._index.reconstruct_batch(rows)


def test_a_partition_whose_rows_are_permuted_is_found_out() -> None:
    kept, shifted = np.arange(200), np.roll(np.arange(200), 1)
    assert ann_recall_at_10(Partition("c", StoredVectors(_Rearranged(_random(200), kept)), kept)) == 1.0
    assert ann_recall_at_10(Partition("c", StoredVectors(_Rearranged(_random(200), shifted)), kept)) < 0.2


def test_two_rows_exchanged_are_found_out() -> None:
    order = np.arange(40)
    order[[3, 30]] = order[[30, 3]]
    assert 0.8 < ann_recall_at_10(Partition("c", StoredVectors(_Rearranged(_random(40), order)), np.arange(40))) < 1.0


def test_the_recall_of_an_approximate_index_is_the_share_that_it_finds() -> None:
    """Four well separated clusters and lists: a query looks into one list, which holds all ten neighbours or none."""
    corners = np.repeat(np.eye(4, 16), 30, axis=0)
    embeddings = unit_rows(corners + 0.05 * np.random.default_rng(0).normal(size=corners.shape))
    quantizer = faiss.IndexFlatIP(16)
    quantizer.add(np.eye(4, 16, dtype=np.float32))
    index = faiss.IndexIVFFlat(quantizer, 16, 4, faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True
    index.make_direct_map()
    index.add(embeddings)
    assert ann_recall_at_10(Partition("c", StoredVectors(index), np.arange(120))) == 1.0
    # The same rows in random lists: the one list that is searched has a quarter of the neighbours.
    random_lists = faiss.IndexFlatIP(16)
    random_lists.add(_random(4, seed=3))
    index = faiss.IndexIVFFlat(random_lists, 16, 4, faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True
    index.make_direct_map()
    index.add(_random(120))
    assert 0.1 < ann_recall_at_10(Partition("c", StoredVectors(index), np.arange(120))) < 0.9
