import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from indexer.build_partitions import ann_recall_at_10, build_partitions
from indexer.embed import EmbeddedCatalogue
from indexer.report import SilentReporter
from shared.catalogue import IndexedItem, Item
from shared.partition import Partition
from shared.vectors import Vectors, unit_rows


def _random(n: int, dim: int = 16, seed: int = 0) -> Vectors:
    return unit_rows(np.random.default_rng(seed).normal(size=(n, dim)))


def _build(embedded: EmbeddedCatalogue, index_views: str) -> tuple[dict[str, Partition], list[IndexedItem]]:
    with SilentReporter().stage("build") as stage:
        built, items = build_partitions(embedded, index_views, None, stage)
    partitions = [one.partition for one in built]
    assert [part.category for part in partitions] == sorted({item.category for item in embedded.items})
    return {part.category: part for part in partitions}, items


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


def test_the_stage_hears_of_every_category(mixed: EmbeddedCatalogue) -> None:
    done = []

    class Stage:
        def advance(self) -> None:
            done.append(1)

    build_partitions(mixed, "original", None, Stage())
    assert len(done) == 3


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

    def search(self, queries: Vectors, k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        scores, rows = self._index.search(queries, k)
        return scores, self._order[rows]

    def reconstruct_batch(self, rows: NDArray[np.int64]) -> Vectors:
        return self._index.reconstruct_batch(rows)


def test_a_partition_whose_rows_are_permuted_is_found_out() -> None:
    kept, shifted = np.arange(200), np.roll(np.arange(200), 1)
    assert ann_recall_at_10(Partition("c", _Rearranged(_random(200), kept), kept)) == 1.0
    assert ann_recall_at_10(Partition("c", _Rearranged(_random(200), shifted), kept)) < 0.2


def test_two_rows_exchanged_are_found_out() -> None:
    order = np.arange(40)
    order[[3, 30]] = order[[30, 3]]
    assert 0.8 < ann_recall_at_10(Partition("c", _Rearranged(_random(40), order), np.arange(40))) < 1.0


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
    assert ann_recall_at_10(Partition("c", index, np.arange(120))) == 1.0
    # The same rows in random lists: the one list that is searched has a quarter of the neighbours.
    random_lists = faiss.IndexFlatIP(16)
    random_lists.add(_random(4, seed=3))
    index = faiss.IndexIVFFlat(random_lists, 16, 4, faiss.METRIC_INNER_PRODUCT)
    index.is_trained = True
    index.make_direct_map()
    index.add(_random(120))
    assert 0.1 < ann_recall_at_10(Partition("c", index, np.arange(120))) < 0.9
