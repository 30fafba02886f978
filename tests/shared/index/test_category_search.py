"""The same searches in files and in Milvus (Milvus Lite, in this process), against plain NumPy."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from shared.errors import FilterTooWide
from shared.index.category_search import CategorySearch, Hit, search_partitions
from shared.index.partition import Partition
from shared.milvus import partition as milvus_partition
from shared.vectors import Vectors, unit_rows
from tests.support.builders.milvus_stores import uploaded

_DIM = 16
_CATEGORIES = ("a/b", "ç 🎩")


def _rows(seed: int, n_items: int) -> tuple[Vectors, np.ndarray]:
    """Two rows an item, and the last item is a copy of the first."""
    rows = unit_rows(np.random.default_rng(seed).normal(size=(2 * n_items, _DIM)))
    rows[-2:] = rows[:2]
    return rows, np.repeat(np.arange(n_items), 2)


_GIVEN = {
    _CATEGORIES[0]: _rows(0, 40),
    _CATEGORIES[1]: (_rows(1, 20)[0], _rows(1, 20)[1] + 40),
}


def _exact(category: str, query: np.ndarray, top_k: int, allowed: np.ndarray | None = None) -> list[tuple[int, float]]:
    rows, numbers = _GIVEN[category]
    best: dict[int, float] = {}
    for number, score in zip(numbers.tolist(), (rows @ query).tolist(), strict=True):
        if allowed is None or allowed[number]:
            best[number] = max(score, best.get(number, -2.0))
    return sorted(best.items(), key=lambda pair: (-round(pair[1], 5), pair[0]))[:top_k]


@pytest.fixture(scope="module", params=["embedded", "milvus", "milvus, one partition"])
def parts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict]:
    embedded = {category: Partition.build(category, *given) for category, given in _GIVEN.items()}
    if request.param == "embedded":
        yield embedded
        return
    path = tmp_path_factory.mktemp("lite") / "vectors.db"
    most = 1 if "one" in request.param else 1024
    with uploaded(f"milvus+file://{path}", embedded, most=most) as (found, entries, store):
        assert [entry.ann_recall_at_10 for entry in entries] == [1.0, 1.0]
        assert (store.index_type, store.rows, store.partitions) == ("FLAT", 120, min(most, 2))
        yield found


def _same(hits: list[Hit], expected: list[tuple[int, float]]) -> None:
    assert [hit.item_number for hit in hits] == [number for number, _ in expected]
    np.testing.assert_allclose([hit.score for hit in hits], [score for _, score in expected], atol=1e-5)


class TestCategorySearch:
    def test_it_says_what_it_has(self, parts: dict[str, CategorySearch]) -> None:
        part = parts[_CATEGORIES[1]]
        assert (part.category, part.n_rows, part.n_items, part.dim) == (_CATEGORIES[1], 40, 20, _DIM)
        assert part.is_exact
        assert part.item_numbers().tolist() == _GIVEN[_CATEGORIES[1]][1].tolist()

    @pytest.mark.parametrize("top_k", [1, 10, 25, 1000])
    def test_the_nearest_items_in_order(self, parts: dict[str, CategorySearch], top_k: int) -> None:
        queries = unit_rows(np.random.default_rng(2).normal(size=(5, _DIM)))
        for category, part in parts.items():
            for query, hits in zip(queries, part.search(queries, top_k), strict=True):
                _same(hits, _exact(category, query, top_k))

    def test_a_copy_ties_and_stands_behind_by_its_number(self, parts: dict[str, CategorySearch]) -> None:
        query = _GIVEN[_CATEGORIES[0]][0][:1]
        (hits,) = parts[_CATEGORIES[0]].search(query, 2)
        assert [hit.item_number for hit in hits] == [0, 39]
        assert hits[0].score == hits[1].score == pytest.approx(1, abs=1e-6)
        (first,) = parts[_CATEGORIES[0]].search(query, 1)
        assert first == hits[:1]

    @pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 1.0])
    def test_allowed_items_alone(self, parts: dict[str, CategorySearch], share: float) -> None:
        allowed = np.random.default_rng(3).random(60) < share
        queries = unit_rows(np.random.default_rng(4).normal(size=(3, _DIM)))
        for category, part in parts.items():
            for query, hits in zip(queries, part.search(queries, 10, allowed), strict=True):
                _same(hits, _exact(category, query, 10, allowed))

    def test_the_embeddings_have_every_bit(self, parts: dict[str, CategorySearch]) -> None:
        for category, part in parts.items():
            rows = [7, 3, 3, 0, part.n_rows - 1]
            assert np.array_equal(part.embeddings(rows), _GIVEN[category][0][rows])

    def test_several_partitions_and_pictures_give_one_ranking(self, parts: dict[str, CategorySearch]) -> None:
        queries = unit_rows(np.random.default_rng(5).normal(size=(2, _DIM)))
        hits = search_partitions(list(parts.values()), queries, 7)
        every = [pair for query in queries for category in parts for pair in _exact(category, query, 100)]
        best = {number: max(score for other, score in every if other == number) for number, _ in every}
        _same(hits, sorted(best.items(), key=lambda pair: (-round(pair[1], 5), pair[0]))[:7])

    def test_no_query_and_no_hit(self, parts: dict[str, CategorySearch]) -> None:
        part = parts[_CATEGORIES[0]]
        assert part.search(np.empty((0, _DIM), np.float32), 3) == []
        assert part.search(_GIVEN[_CATEGORIES[0]][0][:2], 0) == [[], []]


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple]:
    rows = unit_rows(np.random.default_rng(6).normal(size=(300, _DIM)))
    embedded = Partition.build("many", rows, np.arange(300))
    path: Path = tmp_path_factory.mktemp("lite") / "many.db"
    with uploaded(f"milvus+file://{path}", {"many": embedded}, index_kind="hnsw") as (found, entries, store):
        yield embedded, found["many"], entries[0], store


class TestMilvusAlone:
    """Cases of Milvus only: a graph, and filters that need several searches."""

    def test_a_graph_has_its_recall_and_ef_in_the_manifest(self, many: tuple) -> None:
        _, part, entry, store = many
        assert (store.index_type, entry.index_kind) == ("HNSW", "HNSW16")
        assert entry.search_parameter >= 64
        assert entry.ann_recall_at_10 >= 0.99
        assert not part.is_exact

    def test_many_passing_items_far_from_the_query_are_listed_in_parts(
        self, many: tuple, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        embedded, part, _, _ = many
        monkeypatch.setattr(milvus_partition, "_LIMITS", (4, 16))
        monkeypatch.setattr(milvus_partition, "_LISTED_ROWS", 10)
        query = unit_rows(np.random.default_rng(7).normal(size=(1, _DIM)))
        nearest = [hit.item_number for hit in embedded.search(query, 200)[0]]
        allowed = np.ones(300, dtype=bool)
        allowed[nearest] = False
        (found,), (exact,) = part.search(query, 5, allowed), embedded.search(query, 5, allowed)
        assert [hit.item_number for hit in found] == [hit.item_number for hit in exact]

        monkeypatch.setattr(milvus_partition, "_MAX_LISTS", 3)
        with pytest.raises(FilterTooWide, match="100 of the 300 images of 'many' pass the filter"):
            part.search(query, 5, allowed)
