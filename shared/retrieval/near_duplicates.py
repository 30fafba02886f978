"""Find near-duplicates among hits: block matrix products over a bounded number of embeddings.

hits ─look up─▶ rows in the partitions ─fetch block by block─▶ embeddings ─compare─▶ near-duplicates
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.index.category_search import CategorySearch, Hit
from shared.vectors import Vectors

MOST_ROWS = 16
"""Most embeddings of an item that are compared; of more, so many are spread evenly over them."""

MOST_PRODUCTS = 6 * 10**9
"""Most multiplications for one search; two thousand items with one embedding of 1280 numbers each take half."""

_BLOCK_ROWS = 256
_ROUNDING = 1e-6
"""Rounding may leave the cosine of a picture and its copy so far below 1."""


@dataclass(frozen=True)
class Block:
    """Consecutive hits of the ranking, with their embeddings.

    Attributes:
        hits: in the order of the ranking.
        embeddings: `(n_rows, dim)` float32, unit rows: those of the first hit, then those of the second, …
        starts: `(n_hits,)` int64, the first of `embeddings` that is of each hit.
    """

    hits: Sequence[Hit]
    embeddings: Vectors
    starts: NDArray[np.int64]


class HitEmbeddings:
    """Fetches the embeddings of hits from their partitions."""

    def __init__(self, partitions: Sequence[CategorySearch], n_numbers: int) -> None:
        """Prepare.

        Args:
            partitions: those that all hits are from.
            n_numbers: item numbers are lower.
        """
        self._partitions = partitions
        self._n_numbers = n_numbers

    def blocks(self, hits: Sequence[Hit]) -> Iterator[Block]:
        """Yield the hits in blocks of a bounded number of embeddings, each fetched once."""
        positions, partitions, rows = self._rows(hits)
        counts = np.bincount(positions, minlength=len(hits))
        ends = np.cumsum(counts)
        first = 0
        while first < len(hits):
            begin = int(ends[first] - counts[first])
            last = max(first + 1, int(np.searchsorted(ends, begin + _BLOCK_ROWS, side="right")))
            block = slice(begin, int(ends[last - 1]))
            embeddings = self._fetch(partitions[block], rows[block])
            yield Block(hits[first:last], embeddings, ends[first:last] - counts[first:last] - begin)
            first = last

    def _rows(self, hits: Sequence[Hit]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """For each row to compare, `(n,)` int64 each: position of its hit, ascending, partition, row there."""
        position_of = np.full(self._n_numbers, -1, dtype=np.int32)
        position_of[[hit.item_number for hit in hits]] = np.arange(len(hits), dtype=np.int32)
        columns: list[tuple[NDArray[np.int64], ...]] = []
        for number, partition in enumerate(self._partitions):
            positions = position_of[partition.item_numbers()]
            rows = np.flatnonzero(positions >= 0).astype(np.int64)
            columns.append((positions[rows].astype(np.int64), np.full(len(rows), number, dtype=np.int64), rows))
        hit_of, partition_of, row_of = (np.concatenate(parts) for parts in zip(*columns, strict=True))
        order = np.lexsort((row_of, hit_of))
        counts = np.bincount(hit_of, minlength=len(hits))
        within = np.arange(len(hit_of)) - np.repeat(np.cumsum(counts) - counts, counts)
        order = order[within * MOST_ROWS % counts[hit_of[order]] < MOST_ROWS]  # all, or `MOST_ROWS` spread evenly
        return hit_of[order], partition_of[order], row_of[order]

    def _fetch(self, partitions: NDArray[np.int64], rows: NDArray[np.int64]) -> Vectors:
        embeddings = np.empty((len(rows), self._partitions[0].dim), dtype=np.float32)
        for number in np.unique(partitions):
            is_in_partition = partitions == number
            embeddings[is_in_partition] = self._partitions[number].embeddings(rows[is_in_partition])
        return embeddings


class KeptEmbeddings:
    """The embeddings of the hits kept, in their order.

    Attributes:
        n_products: multiplications so far.
    """

    def __init__(self, collapse_above: float) -> None:
        """Empty.

        Args:
            collapse_above: from this cosine on two hits are near-duplicates.
        """
        self.n_products = 0
        self._limit = collapse_above - _ROUNDING
        self._rows = np.empty((0, 0), dtype=np.float32)
        self._owners = np.empty(0, dtype=np.int64)  # the kept hit of each of these rows
        self._n_rows = 0

    def price(self, block: Block) -> int:
        """Return how many multiplications comparing a block takes."""
        n_rows, dim = block.embeddings.shape
        return int(n_rows) * (self._n_rows + int(n_rows)) * int(dim)

    def owners(self, block: Block, none: int) -> NDArray[np.int64]:
        """Return the first kept hit that each hit of a block is a near-duplicate of: `(n_hits,)` int64, else `none`."""
        self.n_products += self.price(block)
        if not self._n_rows:
            return np.full(len(block.hits), none, dtype=np.int64)
        is_near = self._rows[: self._n_rows] @ block.embeddings.T >= self._limit
        first = is_near.argmax(axis=0)  # of equals the first
        owners = np.where(is_near[first, np.arange(len(first))], self._owners[first], none)
        by_hit: NDArray[np.int64] = np.minimum.reduceat(owners, block.starts)
        return by_hit

    def near(self, block: Block) -> NDArray[np.bool_]:
        """Return which hits of a block are near-duplicates of each other: `(n_hits, n_hits)` bool."""
        is_near = block.embeddings @ block.embeddings.T >= self._limit
        by_hit = np.logical_or.reduceat(is_near, block.starts, axis=0)
        by_pair: NDArray[np.bool_] = np.logical_or.reduceat(by_hit, block.starts, axis=1)
        return by_pair

    def add(self, block: Block, owners: dict[int, int]) -> None:
        """Keep some hits of a block.

        Args:
            block: one that was compared.
            owners: the number that `owners` will return for each, by position in the block; ascending.
        """
        if not owners:
            return
        ends = np.append(block.starts[1:], len(block.embeddings))
        rows = np.concatenate([np.arange(block.starts[position], ends[position]) for position in owners])
        n_rows = self._n_rows + len(rows)
        if n_rows > len(self._rows):
            self._grow(2 * n_rows, block.embeddings.shape[1])
        self._rows[self._n_rows : n_rows] = block.embeddings[rows]
        counts = [int(ends[position] - block.starts[position]) for position in owners]
        self._owners[self._n_rows : n_rows] = np.repeat(list(owners.values()), counts)
        self._n_rows = n_rows

    def _grow(self, n_rows: int, dim: int) -> None:
        rows, owners = np.empty((n_rows, dim), dtype=np.float32), np.empty(n_rows, dtype=np.int64)
        if self._n_rows:
            rows[: self._n_rows], owners[: self._n_rows] = self._rows[: self._n_rows], self._owners[: self._n_rows]
        self._rows, self._owners = rows, owners
