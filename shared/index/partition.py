"""One category's partition in files: its vectors, the item of each row, and the search of the nearest items.

A search compares every row, or the candidates of an approximate index; callers need not know which.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.errors import DamagedSnapshot, SnapshotError
from shared.index.approximate_index import ApproximateIndex
from shared.index.category_search import Allowed, Hit, best_hits
from shared.index.partition_files import (
    file_stem,
    partition_file,
    read_item_numbers,
    validate_item_numbers,
    write_item_numbers,
)
from shared.index.stored_vectors import StoredVectors, require_inner_product
from shared.vectors import Vectors

_CHECKED_BYTES = 64 << 20
"""Vectors that take more are not checked when they are opened: that would read gigabytes."""


class Partition:
    """A category's embeddings; an item has several rows if it has several images or views."""

    def __init__(
        self,
        category: str,
        vectors: StoredVectors,
        item_numbers: NDArray[np.int64],
        approximate: ApproximateIndex | None = None,
    ) -> None:
        """Combine the parts.

        Args:
            category: the items' category.
            vectors: unit rows.
            item_numbers: `(n_rows,)` int64, the item of each row.
            approximate: finds the candidates to compare; None compares every row.

        Raises:
            SnapshotError: the parts don't fit each other.
        """
        require_inner_product(vectors.index, category)
        if item_numbers.shape != (vectors.n_rows,):
            raise SnapshotError(
                f"the partition {category!r} has item numbers of shape {item_numbers.shape};"
                f" expected ({vectors.n_rows},), one per embedding"
            )
        if approximate is not None and len(approximate.rows.rows) != vectors.n_rows:
            raise SnapshotError(
                f"the partition {category!r} has an approximate index of {len(approximate.rows.rows)} rows;"
                f" expected {vectors.n_rows}"
            )
        self.category = category
        self._vectors = vectors
        self._item_numbers = np.asarray(item_numbers)  # a plain array over the mapped file is quicker to index
        self._approximate = approximate
        self.n_rows = vectors.n_rows
        self.n_items = _n_distinct(self._item_numbers)
        self.dim = vectors.dim

    @property
    def is_exact(self) -> bool:
        """True if a search compares every row."""
        return self._approximate is None

    @classmethod
    def build(cls, category: str, embeddings: Vectors, item_numbers: NDArray[np.int64]) -> "Partition":
        """Build an exact partition in memory, of `(n_rows, dim)` float32 unit rows."""
        return cls(category, StoredVectors.from_batches(iter([embeddings])), item_numbers)

    def write(self, directory: Path) -> None:
        """Write the partition's files into `directory`: those that `index_files` and `rows_file` name.

        Raises:
            OSError: the disk is full, or `directory` is not writable.
        """
        self._vectors.write(directory / partition_file(self.category))
        self.write_beside_vectors(directory)

    def write_beside_vectors(self, directory: Path) -> None:
        """Write all files but the vectors, which are in `directory` already."""
        if self._approximate is not None:
            self._approximate.write(directory, file_stem(self.category))
        write_item_numbers(directory, self.category, self._item_numbers)

    @classmethod
    def open(cls, category: str, directory: Path) -> "Partition":
        """Map the files that `write` wrote: they are read when searched, and processes share one copy.

        FAISS's reader is not hardened: a truncated file may end the process. So verify the checksums first.

        Raises:
            SnapshotError: a file is missing or damaged.
        """
        path = directory / partition_file(category)  # links may lead to other snapshots, see `regular_file`
        try:
            vectors = StoredVectors.open(path)
            item_numbers = read_item_numbers(directory, category)
            approximate = ApproximateIndex.open(directory, file_stem(category), vectors.n_rows, vectors.dim)
        except Exception as error:  # FAISS and NumPy raise exceptions of many types on damaged bytes
            raise SnapshotError(f"the partition {path} can't be read: {error}") from error
        return cls(category, vectors, item_numbers, approximate)

    def validate(self, n_items: int, all_vectors: bool = False) -> None:
        """Check the rows' item numbers, and that the vectors are finite.

        Args:
            n_items: number of items in the snapshot; they are numbered from 0.
            all_vectors: True to check large files of vectors too.

        Raises:
            SnapshotError: an item number is out of range, or a value is not finite.
        """
        validate_item_numbers(self.category, self._item_numbers, n_items)
        if all_vectors or self.n_rows * self.dim * 4 <= _CHECKED_BYTES:
            try:
                self._vectors.require_finite()
            except SnapshotError as error:
                raise SnapshotError(f"the partition {self.category!r} is damaged: {error}") from error

    def search(self, queries: Vectors, top_k: int, allowed: Allowed | None = None) -> list[list[Hit]]:
        """Find the `top_k` nearest items of each query, best first, ties by item number.

        Rows of one item collapse to one hit with the best score. Scores are exact inner products with the stored
        vectors, however candidates are found, and don't depend on what else is searched. No index is modified: any
        number of threads may search at once.

        Args:
            queries: `(n_queries, dim)` float32, unit rows.
            top_k: number of items per query; fewer are returned if the partition has fewer.
            allowed: the items to search; None for all. Scores don't depend on it.
        """
        mask = None if allowed is None else allowed[self._item_numbers]
        n_rows = self.n_rows if mask is None else int(np.count_nonzero(mask))
        n_hits = min(top_k, self.n_items, n_rows)
        if n_hits == 0:
            return [[] for _ in queries]
        if self._approximate is None:
            return self._search_exact(queries, n_hits, mask)
        # Enough candidates if the rows that pass the filter, and the rows per item, are spread evenly.
        scale = self._approximate.scale_for(n_hits * (self.n_rows / n_rows) * (self.n_rows / self.n_items))
        return [self._search_approximate(query, n_hits, mask, scale) for query in queries]

    def _search_approximate(
        self, query: NDArray[np.float32], n_hits: int, mask: NDArray[np.bool_] | None, scale: int | None
    ) -> list[Hit]:
        """Compare candidates, more each time until enough of them pass the filter; else every row."""
        assert self._approximate is not None
        while scale is not None:
            rows = self._approximate.candidates(query, scale)
            if mask is not None:
                rows = rows[mask[rows]]
            if len(rows) >= n_hits:
                hits = self._collapse(self._vectors.scores(query, rows), rows, n_hits)
                if len(hits) == n_hits:
                    return hits
            scale = self._approximate.next_scale(scale)
        return self._search_exact(query[np.newaxis], n_hits, mask)[0]

    def _search_exact(self, queries: Vectors, n_hits: int, mask: NDArray[np.bool_] | None) -> list[list[Hit]]:
        """Compare every row that passes; fetch more rows until there are enough items and no tie is cut off."""
        passing = None if mask is None else np.flatnonzero(mask)
        n_rows = self.n_rows if passing is None else len(passing)
        n_hits = min(n_hits, n_rows)
        n_fetched = 1 + (n_hits if self.n_rows == self.n_items else 2 * n_hits * -(-self.n_rows // self.n_items))
        while True:
            n_fetched = min(n_fetched, n_rows)
            scores, rows = self._vectors.search(queries, n_fetched, passing)
            hits_by_query = [self._collapse(*pair, n_fetched) for pair in zip(scores, rows, strict=True)]
            lowest = np.minimum(scores[:, -1], 1.0)
            if n_fetched == n_rows or all(
                len(hits) >= n_hits and hits[n_hits - 1].score > score
                for hits, score in zip(hits_by_query, lowest, strict=True)
            ):
                return [hits[:n_hits] for hits in hits_by_query]
            n_fetched *= 4

    def embeddings(self, rows: Sequence[int] | NDArray[np.int64]) -> Vectors:
        """The embeddings of these rows, `(len(rows), dim)` float32.

        Raises:
            DamagedSnapshot: a row is out of range, or its embedding is not finite.
        """
        rows = np.asarray(rows, dtype=np.int64)
        if len(rows) and not 0 <= rows.min() <= rows.max() < self.n_rows:
            raise DamagedSnapshot(
                f"the partition {self.category!r} has {self.n_rows} rows, but not {rows.min()} to {rows.max()}"
            )
        embeddings = self._vectors.embeddings(rows)
        if not np.isfinite(embeddings).all():
            raise DamagedSnapshot(f"the partition {self.category!r} has vectors that are not finite")
        return embeddings

    def item_numbers(self) -> NDArray[np.int64]:
        """`(n_rows,)` int64: the item of each row."""
        return self._item_numbers

    def _collapse(self, scores: NDArray[np.float32], rows: NDArray[np.int64], max_hits: int) -> list[Hit]:
        """Collapse rows to at most `max_hits` items, best first."""
        if rows.min(initial=0) < 0 or np.isnan(scores).any():  # FAISS's -1 for no row; a score that is not finite
            valid = (rows >= 0) & ~np.isnan(scores)
            scores, rows = scores[valid], rows[valid]
        scores, numbers = np.minimum(scores, 1.0), self._item_numbers[rows]  # rounding may exceed a cosine of 1
        order = np.lexsort((numbers, -scores))
        if self.n_rows == self.n_items:
            order = order[:max_hits]
        hits = map(Hit, numbers[order].tolist(), scores[order].tolist())
        return list(hits) if self.n_rows == self.n_items else best_hits(hits)[:max_hits]


def _n_distinct(numbers: NDArray[np.int64]) -> int:
    """The number of distinct values; builds write them ascending, so a million need no sorting."""
    steps = np.diff(numbers)
    if len(numbers) and (steps >= 0).all():
        return 1 + int(np.count_nonzero(steps))
    return len(np.unique(numbers))
