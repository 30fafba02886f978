"""Folding near-duplicates, against a comparison one by one; what it costs, by counting multiplications and rows."""

from typing import Any

import numpy as np
import pytest

from shared.index.category_search import Hit
from shared.index.partition import Partition
from shared.retrieval import collapse as distinct_module
from shared.retrieval.collapse import HitCollapser
from shared.retrieval.near_duplicates import MOST_ROWS, HitEmbeddings
from shared.vectors import Vectors, unit_rows

_DIM = 24


class _Counted:
    """A partition that counts the embeddings that are fetched from it."""

    def __init__(self, partition: Partition) -> None:
        self._partition, self.fetched = partition, []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._partition, name)

    def embeddings(self, rows: Any) -> Vectors:
        self.fetched += list(rows)
        return self._partition.embeddings(rows)


def _drawn(n_items: int, most_rows: int, seed: int, n_designs: int = 20) -> tuple[list[_Counted], list[Vectors]]:
    """Two partitions of items around some designs, and the embeddings of each item."""
    draw = np.random.default_rng(seed)
    designs = draw.normal(size=(n_designs, _DIM))
    rows = [
        unit_rows(designs[draw.integers(n_designs)] + draw.normal(0, 0.2, size=(draw.integers(1, most_rows + 1), _DIM)))
        for _ in range(n_items)
    ]
    halves = [range(0, n_items, 2), range(1, n_items, 2)]
    partitions = [
        _Counted(
            Partition.build(
                name,
                np.concatenate([rows[number] for number in numbers]),
                np.repeat(np.array(numbers), [len(rows[number]) for number in numbers]),
            )
        )
        for name, numbers in zip("ab", halves, strict=True)
    ]
    return partitions, rows


def _one_by_one(rows: list[Vectors], order: list[int], limit: float, wanted: int, groups: Any) -> list[Any]:
    kept: list[tuple[int, list[int]]] = []
    seen: set[int] = set()
    for number in order:
        if len(kept) == wanted:
            break
        group = -1 if groups is None else int(groups[number])
        if group in seen:
            continue
        near = [copies for one, copies in kept if (rows[one] @ rows[number].T).max() >= limit - 1e-6]
        if near:
            near[0].append(number)
            continue
        if group >= 0:
            seen.add(group)
        kept.append((number, []))
    return [(number, copies[:20]) for number, copies in kept]


@pytest.mark.parametrize("limit", [0.3, 0.7, 0.9, 1.0])
@pytest.mark.parametrize("is_grouped", [False, True])
@pytest.mark.parametrize("parts", [1, 3])
def test_blocks_fold_as_one_by_one(limit: float, is_grouped: bool, parts: int) -> None:
    for seed, most_rows in ((0, 1), (1, 4), (2, MOST_ROWS)):
        n_items = 800 if most_rows == 1 else 300
        partitions, rows = _drawn(n_items, most_rows, seed)
        order = np.random.default_rng(seed).permutation(n_items).tolist()
        groups = np.random.default_rng(seed).integers(-1, 90, n_items).astype(np.int32) if is_grouped else None
        hits = [Hit(number, 1 - place / n_items) for place, number in enumerate(order)]
        for wanted in (7, n_items):
            found = HitCollapser(wanted, partitions, n_items, groups, limit)
            for part in np.array_split(np.arange(n_items), parts):
                if not found.is_done:
                    found.add([hits[place] for place in part])
            expected = _one_by_one(rows, order, limit, wanted, groups)
            assert [(kept.hit.item_number, kept.duplicates) for kept in found.kept] == expected


def test_no_embedding_is_fetched_twice_and_none_after_the_page_is_full() -> None:
    partitions, _ = _drawn(2000, 1, seed=0)
    hits = [Hit(number, 0.5) for number in range(2000)]
    found = HitCollapser(10_000, partitions, 2000, None, 0.99)
    found.add(hits)
    fetched = [len(partition.fetched) for partition in partitions]
    assert fetched == [len(set(partition.fetched)) for partition in partitions] == [1000, 1000]
    partitions, _ = _drawn(2000, 1, seed=0)
    HitCollapser(10, partitions, 2000, None, 1.0).add(hits)
    assert sum(len(partition.fetched) for partition in partitions) <= 512


def test_of_an_item_with_many_embeddings_some_are_compared_spread_evenly() -> None:
    rows = unit_rows(np.random.default_rng(0).normal(size=(1003, _DIM)))
    partition = Partition.build("a", rows, np.repeat([0, 1, 2], [1000, 1, 2]))
    (block,) = HitEmbeddings([partition], 3).blocks([Hit(0, 0.9), Hit(2, 0.8), Hit(1, 0.7)])
    assert block.starts.tolist() == [0, MOST_ROWS, MOST_ROWS + 2]
    chosen = [int(np.flatnonzero((rows == row).all(axis=1))[0]) for row in block.embeddings]
    assert chosen[-3:] == [1001, 1002, 1000]
    assert chosen[0] == 0
    assert np.ptp(np.diff(chosen[:MOST_ROWS])) <= 1


def test_the_multiplications_of_a_search_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    most = 600 * 600 * _DIM
    monkeypatch.setattr(distinct_module, "MOST_PRODUCTS", most)
    partitions, _ = _drawn(3000, 1, seed=0, n_designs=3000)
    hits = [Hit(number, 0.5) for number in range(3000)]
    found = HitCollapser(3000, partitions, 3000, None, 1.0)
    found.add(hits)
    assert found.is_done
    assert found._near is not None
    assert most / 2 < found._near.n_products <= most
    whole = HitCollapser(300, partitions, 3000, None, 1.0)
    whole.add(hits)
    assert [kept.hit for kept in found.kept[:300]] == [kept.hit for kept in whole.kept] == hits[:300]
    assert len(found.kept) < 3000


def test_the_work_can_be_ended_between_blocks() -> None:
    partitions, _ = _drawn(2000, 1, seed=0)
    calls = []

    def check() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise TimeoutError

    with pytest.raises(TimeoutError):
        HitCollapser(2000, partitions, 2000, None, 1.0, check).add([Hit(number, 0.5) for number in range(2000)])
    assert sum(len(partition.fetched) for partition in partitions) == 3 * 256
