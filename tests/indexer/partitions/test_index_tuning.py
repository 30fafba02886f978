"""Approximate indexes against exact search: what they find, their scores, filters, copies, and what is chosen when."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import faiss
import numpy as np
import pytest

from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.partitions.index_policy import IndexPolicy
from indexer.partitions.index_tuning import choose_index, first_copies
from indexer.snapshots.published import PublishedSnapshot
from shared.catalogue.items import Item
from shared.index.approximate_index import ApproximateIndex
from shared.index.category_search import Hit
from shared.index.index_kind import IndexKind, split_projection
from shared.index.inner_products import inner_products
from shared.index.partition import Partition
from shared.index.stored_vectors import StoredVectors
from shared.manifest import CategoryEntry
from shared.snapshot.data_directory import SnapshotPaths
from shared.vectors import Vectors, unit_rows
from tests.support.builders.partitions import make_partitions
from tests.support.fakes import fake_manifest

_ROWS, _DIM = 2500, 80
_KINDS = {
    "projected": IndexPolicy(exact_up_to=0, index_kind="hnsw", max_bytes_per_vector=200),
    "whole": IndexPolicy(exact_up_to=0, index_kind="hnsw"),
    "lists": IndexPolicy(exact_up_to=0, index_kind="ivf"),
    "int8": IndexPolicy(exact_up_to=0, vectors="int8"),
}


def _drawn(n: int, seed: int, directions: int = 12) -> Vectors:
    """Unit rows along few directions, and a little along all, as embeddings of pictures are."""
    map_to = np.random.default_rng(0).normal(size=(directions, _DIM))
    random = np.random.default_rng(seed)
    return unit_rows(2 + random.normal(size=(n, directions)) @ map_to + 0.1 * random.normal(size=(n, _DIM)))


def _catalogue(rows: Vectors, numbers: np.ndarray, digests: list[bytes] | None = None) -> EmbeddedCatalogue:
    """One category, the image in each place showing the item of `numbers`, ascending."""
    items = tuple(Item(f"item {one}", "c", ("x.jpg",) * int(np.sum(numbers == one))) for one in np.unique(numbers))
    made = digests or [row.tobytes() for row in rows]
    return EmbeddedCatalogue(items, numbers, tuple(made), rows[:, np.newaxis], (), len(rows), "recipe")


def _made(rows: Vectors, numbers: np.ndarray, policy: IndexPolicy, directory: Path) -> tuple[CategoryEntry, Partition]:
    directory.mkdir(exist_ok=True)
    (entry,), _ = make_partitions(_catalogue(rows, numbers), "original", directory, policy=policy)
    return entry, Partition.open("c", directory)


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Threads that wait for each other on a busy machine cost more here than they bring."""
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    yield
    faiss.omp_set_num_threads(before)


@pytest.fixture(scope="module", params=_KINDS)
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[CategoryEntry, Partition, Partition]:
    """One of the kinds over items of two images each, and exact search over the same."""
    rows, numbers = _drawn(_ROWS, 1), np.arange(_ROWS) // 2
    entry, partition = _made(rows, numbers, _KINDS[request.param], tmp_path_factory.mktemp(request.param))
    return entry, partition, Partition.build("c", rows, numbers)


def _overlap(found: list[list[Hit]], exact: list[list[Hit]]) -> float:
    return float(
        np.mean(
            [
                len({hit.item_number for hit in one} & {hit.item_number for hit in wanted}) / len(wanted)
                for one, wanted in zip(found, exact, strict=True)
            ]
        )
    )


@pytest.mark.parametrize("top_k", [1, 10, 40, 300])
def test_it_finds_what_exact_search_finds(made: tuple[CategoryEntry, Partition, Partition], top_k: int) -> None:
    entry, partition, exact = made
    queries = _drawn(200, 2)
    found, wanted = partition.search(queries, top_k), exact.search(queries, top_k)
    assert entry.search_parameter is not None
    assert all(len(hits) == top_k for hits in found)
    assert _overlap(found, wanted) >= (0.97 if entry.vectors == "int8" else 0.985)
    assert entry.ann_recall_at_10 >= (0.97 if entry.vectors == "int8" else 0.99)


def test_scores_are_those_of_exact_search(made: tuple[CategoryEntry, Partition, Partition]) -> None:
    entry, partition, exact = made
    queries = _drawn(50, 2)
    for hits, everything in zip(partition.search(queries, 10), exact.search(queries, _ROWS), strict=True):
        scores = {hit.item_number: hit.score for hit in everything}
        off = max(abs(hit.score - scores[hit.item_number]) for hit in hits)
        assert off < 0.005 if entry.vectors == "int8" else off == 0
        assert hits == sorted(hits, key=lambda hit: (-hit.score, hit.item_number))


def test_a_query_gets_the_same_answer_alone_in_a_batch_and_from_four_threads(
    made: tuple[CategoryEntry, Partition, Partition],
) -> None:
    _, partition, _ = made
    queries = _drawn(60, 2)
    alone = [partition.search(query[np.newaxis], 10)[0] for query in queries]
    assert partition.search(queries, 10) == alone
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda query: partition.search(query[np.newaxis], 10)[0], np.tile(queries, (4, 1))))
    assert found == alone * 4


@pytest.mark.parametrize("share", [0.0, 0.002, 0.05, 0.4, 0.95])
@pytest.mark.parametrize("top_k", [10, 100])
def test_a_filter_leaves_out_the_others_and_nothing_else(
    made: tuple[CategoryEntry, Partition, Partition], share: float, top_k: int
) -> None:
    entry, partition, exact = made
    allowed = np.random.default_rng(3).random(_ROWS // 2) < share
    queries = _drawn(100, 2)
    found, wanted = partition.search(queries, top_k, allowed), exact.search(queries, top_k, allowed)
    assert [len(hits) for hits in found] == [len(hits) for hits in wanted]
    if share:
        assert _overlap(found, wanted) >= (0.96 if entry.vectors == "int8" else 0.985)


def test_a_filter_that_takes_away_the_nearest_half_finds_the_next(
    made: tuple[CategoryEntry, Partition, Partition],
) -> None:
    entry, partition, exact = made
    (query,) = _drawn(1, 2)
    everything = exact.search(query[np.newaxis], _ROWS)[0]
    allowed = np.ones(_ROWS // 2, dtype=bool)
    allowed[[hit.item_number for hit in everything[: _ROWS // 4]]] = False
    (found,), (wanted,) = (one.search(query[np.newaxis], 10, allowed) for one in (partition, exact))
    if entry.vectors == "float32":
        assert found == wanted
    assert len(found) == 10


def test_more_hits_begin_with_the_same_hits_as_a_page_has(made: tuple[CategoryEntry, Partition, Partition]) -> None:
    _, partition, _ = made
    for query in _drawn(20, 2):
        (page,), (both,) = partition.search(query[np.newaxis], 30), partition.search(query[np.newaxis], 40)
        assert both[:30] == page


def test_embeddings_are_those_of_the_rows(made: tuple[CategoryEntry, Partition, Partition]) -> None:
    entry, partition, exact = made
    rows = [3, _ROWS - 1, 0]
    off = np.abs(partition.embeddings(rows) - exact.embeddings(rows)).max()
    assert off < 0.005 if entry.vectors == "int8" else off == 0


def test_a_sixth_of_copies_neither_crowd_the_index_nor_stand_in_another_order(tmp_path: Path) -> None:
    rows = np.concatenate([_drawn(3000, 1), np.tile(_drawn(1, 5), (500, 1)), np.tile(_drawn(1, 6), (100, 1))])
    entry, partition = _made(rows, np.arange(3600), IndexPolicy(exact_up_to=0), tmp_path)
    assert entry.search_parameter is not None
    (found,) = partition.search(rows[3000:3001], 10)
    assert [hit.item_number for hit in found] == list(range(3000, 3010))
    exact, queries = Partition.build("c", rows, np.arange(3600)), _drawn(100, 2)
    assert _overlap(partition.search(queries, 10), exact.search(queries, 10)) >= 0.985


def test_ids_are_right_after_a_rebuild_with_deletes(tmp_path: Path) -> None:
    rows, policy = _drawn(3000, 1), IndexPolicy(exact_up_to=0)
    _made(rows, np.arange(3000), policy, tmp_path / "old")
    left = np.flatnonzero(np.random.default_rng(0).random(3000) < 0.7)
    _, partition = _made(rows[left], np.arange(len(left)), policy, tmp_path / "new")
    found = partition.search(rows[left], 1)
    assert np.mean([hits[0].item_number == number for number, hits in enumerate(found)]) >= 0.995
    assert max(hits[0].item_number for hits in found) < len(left)
    gone = np.setdiff1d(np.arange(3000), left)
    assert max(hits[0].score for hits in partition.search(rows[gone], 1)) < 0.9999


def test_an_index_is_taken_over_unless_another_is_wanted(tmp_path: Path) -> None:
    embedded, policy = _catalogue(_drawn(1000, 1), np.arange(1000)), IndexPolicy(exact_up_to=0)
    paths = SnapshotPaths(tmp_path / "old")
    paths.partitions.mkdir(parents=True)
    entries, _ = make_partitions(embedded, "original", paths.partitions, policy=policy)
    published = PublishedSnapshot(paths, fake_manifest(categories=tuple(entries)))
    for place, other in enumerate([policy, IndexPolicy(exact_up_to=0, vectors="int8"), IndexPolicy(), _KINDS["lists"]]):
        (directory := tmp_path / str(place)).mkdir()
        (entry,), _ = make_partitions(embedded, "original", directory, published, other)
        assert (entry == entries[0]) == (other == policy)
        same = [
            (directory / file.name).stat().st_ino == file.stat().st_ino
            for file in paths.partitions.iterdir()
            if "rows" not in file.name.replace("approximate.rows", "") and (directory / file.name).exists()
        ]
        assert all(same) == (other == policy)


# What is chosen


def test_a_partition_that_is_cheap_to_compare_has_no_index() -> None:
    vectors = StoredVectors.from_batches(iter([_drawn(1000, 1)]))
    assert choose_index(vectors, IndexPolicy(exact_up_to=1000 * _DIM)) is None
    assert choose_index(vectors, IndexPolicy(exact_up_to=0, index_kind="exact")) is None
    assert choose_index(vectors, IndexPolicy(exact_up_to=1000 * _DIM - 1)) is not None


def test_hardly_anything_but_copies_has_no_index() -> None:
    vectors = StoredVectors.from_batches(iter([np.tile(_drawn(20, 1), (100, 1))]))
    assert choose_index(vectors, IndexPolicy(exact_up_to=1000 * _DIM)) is None


def test_vectors_that_nothing_approximates_are_compared_all() -> None:
    """Without structure, in many dimensions, all are equally far: 16 bytes a vector say nothing."""
    rows = unit_rows(np.random.default_rng(0).normal(size=(3000, _DIM)))
    policy = IndexPolicy(exact_up_to=0, index_kind="hnsw", max_bytes_per_vector=190)
    tuned = choose_index(StoredVectors.from_batches(iter([rows])), policy)
    assert tuned is None or tuned.recall >= 0.99


@pytest.mark.parametrize(("directions", "projected"), [(4, "P8"), (12, "P16")])
@pytest.mark.parametrize("n_rows", [3_000, 12_000])
def test_codes_are_as_short_as_the_vectors_allow(n_rows: int, directions: int, projected: str) -> None:
    vectors = StoredVectors.from_batches(iter([_drawn(n_rows, 1, directions)]))
    tuned = choose_index(vectors, IndexPolicy(exact_up_to=0))
    assert tuned is not None
    assert tuned.index.settings.kind.startswith(f"{projected},")
    assert tuned.index.index.ntotal == n_rows


def test_a_projection_gives_what_the_indexs_own_transformation_gives() -> None:
    rows = _drawn(3_000, 1)
    kind = IndexKind("P16,HNSW16,SQfp16", _DIM)
    index = kind.trained(rows)
    matrix, searched = split_projection(index)
    assert kind.is_projected
    assert matrix is not None
    assert matrix.shape == (16, _DIM)
    assert (index.d, searched.d) == (_DIM, 16)
    wanted = index.chain.at(0).apply(rows[:1])[0]
    assert np.allclose(inner_products(rows[:1], matrix, np.arange(16)[np.newaxis])[0], wanted, atol=1e-5)
    assert split_projection(searched) == (None, searched)


@pytest.mark.parametrize(
    ("limit", "kinds"),
    [
        (None, ["P128,HNSW16,SQfp16", "P256,HNSW16,SQfp16", "HNSW16,SQfp16"]),
        (700, ["P128,HNSW16,SQfp16", "P256,HNSW16,SQfp16"]),
        (400, ["P128,HNSW16,SQfp16"]),
        (200, ["IVF256,PQ320x4fs"]),
        (100, []),
    ],
)
def test_the_budget_leaves_out_what_is_larger(limit: int | None, kinds: list[str]) -> None:
    policy = IndexPolicy(max_bytes_per_vector=limit)
    assert policy.kinds_to_try(1280, 10_000) == kinds
    assert policy.is_exact(10_000, 1280) == (not kinds)


@pytest.mark.parametrize("name", ["P16,HNSW16,SQfp16", "HNSW16,SQfp16", "IVF16,PQ20x4fs"])
def test_an_index_is_as_large_as_is_said(tmp_path: Path, name: str) -> None:
    rows = _drawn(4000, 1)
    kind = IndexKind(name, _DIM)
    index = kind.trained(rows)
    before = len(faiss.serialize_index(index))
    index.add(rows)
    after = len(faiss.serialize_index(index))
    assert (after - before) / 4000 == pytest.approx(kind.bytes_per_vector, rel=0.12)


def test_first_copies_name_the_first_row_with_the_same_bits() -> None:
    rows = _drawn(4, 1)[[0, 1, 0, 2, 1, 3]]
    assert first_copies(StoredVectors.from_batches(iter([rows]))).tolist() == [0, 1, 0, 3, 1, 5]


def test_an_index_that_is_not_there_is_none(tmp_path: Path) -> None:
    assert ApproximateIndex.open(tmp_path, "c", 1, 8) is None
