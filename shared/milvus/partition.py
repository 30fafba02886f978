"""One category's partition with its vectors in a Milvus collection; the item of each row stays here.

Milvus finds candidates; those that may be hits are fetched and re-ranked here, so that scores and order are bit by bit
those of a search in files.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shared.errors import FilterTooWide, StoreUnavailable
from shared.index.category_search import Allowed, Hit, best_hits
from shared.index.stored_vectors import StoredVectors
from shared.milvus.connection import MilvusConnection
from shared.milvus.rows import KEY, VECTOR, CategoryRows
from shared.vectors import Vectors

# The largest error of Milvus's scores, whose kernels differ in rounding.
_ROUNDING = 2e-6
# In steps, so that slightly more hits have the same candidates: pages are slices of one ranking. Milvus returns no more
# rows than the last.
_LIMITS = (16, 64, 256, 1024, 4096, 16384)
_QUERY_BATCH = 64
_FETCH_BATCH = 1000
# Rows that a search lists: beyond that Milvus 2.3 takes longer to parse the list than to search.
_LISTED_ROWS = 1000
_MAX_LISTS = 32


class Candidates(NamedTuple):
    """Rows and Milvus's scores, `(n,)` each, best first."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]


class MilvusPartition:
    """A category's embeddings in Milvus; safe to search from any number of threads."""

    def __init__(
        self,
        connection: MilvusConnection,
        collection: str,
        category: str,
        rows: CategoryRows,
        item_numbers: NDArray[np.int64],
        dim: int,
        ef: int | None = None,
    ) -> None:
        """Prepare; no call is made yet.

        Args:
            connection: to the server.
            collection: the name of the snapshot's collection.
            category: the items' category.
            rows: of the category in the collection.
            item_numbers: `(n_rows,)` int64, the item of each row.
            dim: length of an embedding.
            ef: of a search of a graph; None compares every row.
        """
        self.category = category
        self.n_rows = len(item_numbers)
        self.n_items = len(np.unique(item_numbers))
        self.dim = dim
        self._connection = connection
        self._target: dict[str, Any] = {"collection_name": collection, "partition_names": [rows.partition]}
        self._first_key = rows.first_key
        self._filter = "" if rows.is_alone else rows.expression
        self._item_numbers = np.asarray(item_numbers)
        self._ef = ef

    @property
    def is_exact(self) -> bool:
        """True if a search compares every row."""
        return self._ef is None

    def item_numbers(self) -> NDArray[np.int64]:
        """`(n_rows,)` int64: the item of each row."""
        return self._item_numbers

    def embeddings(self, rows: Sequence[int] | NDArray[np.int64]) -> Vectors:
        """The embeddings of these rows, `(len(rows), dim)` float32.

        Raises:
            StoreUnavailable: Milvus does not answer, or lacks a row.
        """
        distinct, indices = np.unique(np.asarray(rows, dtype=np.int64), return_inverse=True)
        vectors = np.empty((len(distinct), self.dim), dtype=np.float32)
        for start in range(0, len(distinct), _FETCH_BATCH):
            keys = (self._first_key + distinct[start : start + _FETCH_BATCH]).tolist()
            records = self._connection.call("get", ids=keys, output_fields=[VECTOR], **self._target)
            if len(records) != len(keys):
                raise StoreUnavailable(f"Milvus returned {len(records)} of {len(keys)} rows of {self.category!r}")
            ordered = sorted(records, key=lambda record: int(record[KEY]))
            vectors[start : start + len(keys)] = [record[VECTOR] for record in ordered]
        return vectors[indices]

    def search(self, queries: Vectors, top_k: int, allowed: Allowed | None = None) -> list[list[Hit]]:
        """Find the `top_k` nearest items of each query, best first, ties by item number.

        More and more rows are fetched until enough items pass the filter; if few rows pass, the search lists them.

        Args:
            queries: `(n_queries, dim)` float32, unit rows.
            top_k: number of items per query; fewer are returned if the partition has fewer, or if copies of the nearest
                fill the 16,384 rows that Milvus returns at most.
            allowed: the items to search; None for all.

        Raises:
            StoreUnavailable: Milvus does not answer.
            FilterTooWide: too many rows pass to be listed, and too few of them are among the nearest.
        """
        mask = None if allowed is None else allowed[self._item_numbers]
        n_rows = self.n_rows if mask is None else int(np.count_nonzero(mask))
        n_hits = min(top_k, self.n_items, n_rows)
        if n_hits == 0:
            return [[] for _ in queries]
        if mask is not None and n_rows <= _LISTED_ROWS:
            return [self._search_listed(query, np.flatnonzero(mask), n_hits) for query in queries]
        # Enough if the rows that pass, and the rows per item, are spread evenly; and one more to detect a tie.
        limit = _limit_for(1 + n_hits * (self.n_rows / n_rows) * (self.n_rows / self.n_items))
        hits: list[list[Hit]] = []
        for start in range(0, len(queries), _QUERY_BATCH):
            batch = queries[start : start + _QUERY_BATCH]
            hits += [
                self._search_until_enough(query, candidates, limit, n_hits, mask)
                for query, candidates in zip(batch, self._candidates(batch, limit), strict=True)
            ]
        return hits

    def _search_until_enough(
        self,
        query: NDArray[np.float32],
        candidates: Candidates,
        limit: int,
        n_hits: int,
        mask: NDArray[np.bool_] | None,
    ) -> list[Hit]:
        """Fetch more than these `limit` candidates until there are enough hits and no tie is cut off."""
        while True:
            hits = self._collapse(candidates, mask)
            is_all = limit >= self.n_rows
            is_enough = len(hits) >= n_hits and hits[n_hits - 1].score > float(candidates.scores[-1]) + 2 * _ROUNDING
            if is_all or is_enough:
                return self._rerank(query, candidates, n_hits, mask)
            if limit == _LIMITS[-1]:
                break
            limit = _limit_for(limit + 1)
            (candidates,) = self._candidates(query[np.newaxis], limit)
        if len(hits) >= n_hits or mask is None:
            return self._rerank(query, candidates, n_hits, mask)
        return self._search_listed(query, np.flatnonzero(mask), n_hits)

    def _search_listed(self, query: NDArray[np.float32], rows: NDArray[np.int64], n_hits: int) -> list[Hit]:
        """Search these rows only, by listing their keys."""
        if len(rows) > _LISTED_ROWS * _MAX_LISTS:
            raise FilterTooWide(
                f"{len(rows):,} of the {self.n_rows:,} images of {self.category!r} pass the filter, and fewer than"
                f" {n_hits} of their items are among the nearest {_LIMITS[-1]:,}; Milvus can search only if at most"
                f" {_LISTED_ROWS * _MAX_LISTS:,} pass: narrow the filter, or search without it"
            )
        parts = []
        for start in range(0, len(rows), _LISTED_ROWS):
            part = rows[start : start + _LISTED_ROWS]
            keys = ",".join(map(str, (self._first_key + part).tolist()))
            parts += self._candidates(query[np.newaxis], len(part), f"{KEY} in [{keys}]")
        near, scores = (np.concatenate([part[column] for part in parts]) for column in (0, 1))
        order = np.argsort(-scores, kind="stable")
        return self._rerank(query, Candidates(near[order], scores[order]), n_hits, None)

    def _rerank(
        self, query: NDArray[np.float32], candidates: Candidates, n_hits: int, mask: NDArray[np.bool_] | None
    ) -> list[Hit]:
        """The first `n_hits` hits by exact scores, of the vectors themselves."""
        hits = self._collapse(candidates, mask)[:n_hits]
        if not hits:
            return []
        is_near = candidates.scores >= hits[-1].score - 2 * _ROUNDING
        if mask is not None:
            is_near &= mask[candidates.rows]
        max_rows = _FETCH_BATCH + n_hits * -(-self.n_rows // self.n_items)  # there may be any number of copies
        rows = candidates.rows[is_near][:max_rows]
        scores = StoredVectors.from_batches(iter([self.embeddings(rows)])).scores(query, np.arange(len(rows)))
        return self._collapse(Candidates(rows, np.minimum(scores, np.float32(1))), None)[:n_hits]

    def _candidates(self, queries: Vectors, limit: int, expression: str = "") -> list[Candidates]:
        parameters = {} if self._ef is None else {"ef": max(self._ef, limit)}
        results = self._connection.call(
            "search",
            data=list(queries),
            limit=limit,
            filter=expression or self._filter,
            search_params={"metric_type": "IP", "params": parameters},
            consistency_level="Bounded",
            **self._target,
        )
        candidates = [self._parse(records) for records in results]
        # A server that is restarting may search only the rows that it has loaded so far.
        n_least = 1 if self._ef is not None else min(limit, self.n_rows)
        if not expression and any(len(rows) < n_least for rows, _ in candidates):
            raise StoreUnavailable(f"Milvus returned fewer rows of {self.category!r} than there are")
        return candidates

    def _parse(self, records: Any) -> Candidates:
        rows = np.array([record.id for record in records], dtype=np.int64) - self._first_key
        return Candidates(rows, np.array([record["distance"] for record in records], dtype=np.float32))

    def _collapse(self, candidates: Candidates, mask: NDArray[np.bool_] | None) -> list[Hit]:
        """One hit per item that passes, best first."""
        rows, scores = candidates
        if mask is not None:
            passes = mask[rows]
            rows, scores = rows[passes], scores[passes]
        return best_hits(map(Hit, self._item_numbers[rows].tolist(), scores.tolist()))


def _limit_for(n_rows: float) -> int:
    return next((limit for limit in _LIMITS if limit >= n_rows), _LIMITS[-1])
