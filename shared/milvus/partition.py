"""One category's vectors in a collection of Milvus; which item each row shows stays here.

Milvus proposes rows; those that may be hits are fetched and compared here, so that scores and order have the bits that
a search in files gives.
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

# Milvus's scores are so near to the exact ones at least: its kernels round one way here and another there.
_ROUNDING = 2e-6
# In steps, so that a little more that is wanted gives the same hits: pages are cuts through one ranking. More than the
# last Milvus does not give.
_LIMITS = (16, 64, 256, 1024, 4096, 16384)
_QUERIES = 64
_FETCHED = 1000
# Rows that a search names: beyond that Milvus 2.3 takes longer to read the list than to search.
_LISTED = 1000
_LISTS = 32


class Found(NamedTuple):
    """What a search gave: `(n,)` each, best first."""

    rows: NDArray[np.int64]
    scores: NDArray[np.float32]


class MilvusPartition:
    """Safe to search from any number of threads."""

    def __init__(
        self,
        connection: MilvusConnection,
        collection: str,
        category: str,
        rows: CategoryRows,
        item_numbers: NDArray[np.int64],
        dim: int,
        effort: int | None = None,
    ) -> None:
        """Nothing is asked of the server yet.

        Args:
            connection: to it.
            collection: the name of the snapshot's.
            category: whose items these are.
            rows: where they are in it.
            item_numbers: `(n_rows,)` int64, the item that each row shows.
            dim: length of an embedding.
            effort: `ef` of a search of a graph; None where every row is compared.
        """
        self.category = category
        self.n_rows = len(item_numbers)
        self.n_items = len(np.unique(item_numbers))
        self.dim = dim
        self._connection = connection
        self._of: dict[str, Any] = {"collection_name": collection, "partition_names": [rows.partition]}
        self._first_key = rows.first_key
        self._own = "" if rows.is_alone else rows.expression
        self._item_numbers = np.asarray(item_numbers)
        self._effort = effort

    @property
    def is_exact(self) -> bool:
        """Whether each search compares every row."""
        return self._effort is None

    def item_numbers(self) -> NDArray[np.int64]:
        """`(n_rows,)` int64: the item that each row shows."""
        return self._item_numbers

    def embeddings(self, rows: Sequence[int] | NDArray[np.int64]) -> Vectors:
        """The embeddings in these rows, `(len(rows), dim)` float32.

        Raises:
            StoreUnavailable: Milvus does not answer, or lacks one.
        """
        wanted = np.asarray(rows, dtype=np.int64)
        found = np.empty((len(wanted), self.dim), dtype=np.float32)
        distinct, places = np.unique(wanted, return_inverse=True)
        vectors = np.empty((len(distinct), self.dim), dtype=np.float32)
        for start in range(0, len(distinct), _FETCHED):
            keys = (self._first_key + distinct[start : start + _FETCHED]).tolist()
            got = self._connection.call("get", ids=keys, output_fields=[VECTOR], **self._of)
            if len(got) != len(keys):
                raise StoreUnavailable(f"Milvus has {len(got)} of {len(keys)} rows of {self.category!r}")
            ordered = sorted(got, key=lambda row: int(row[KEY]))
            vectors[start : start + len(keys)] = [row[VECTOR] for row in ordered]
        found[:] = vectors[places]
        return found

    def search(self, queries: Vectors, top_k: int, allowed: Allowed | None = None) -> list[list[Hit]]:
        """The `top_k` nearest items of each query, best first, equal scores by item number.

        More rows are fetched than items are wanted, until there are enough that pass; where few pass, Milvus is told
        which.

        Args:
            queries: `(n_queries, dim)` float32, unit rows.
            top_k: how many items a query; fewer come back where the partition has fewer, or copies of the nearest fill
                the 16,384 rows that Milvus gives.
            allowed: the items to search, if not all.

        Raises:
            StoreUnavailable: Milvus does not answer.
            FilterTooWide: too many pass to be listed, and too few are among the nearest.
        """
        passing = None if allowed is None else allowed[self._item_numbers]
        n_rows = self.n_rows if passing is None else int(np.count_nonzero(passing))
        wanted = min(top_k, self.n_items, n_rows)
        if wanted == 0:
            return [[] for _ in queries]
        if passing is not None and n_rows <= _LISTED:
            return [self._among(query, np.flatnonzero(passing), wanted) for query in queries]
        # As many as give enough items if those that pass, and an item's rows, are spread evenly; and one to see a tie.
        limit = _step(1 + wanted * (self.n_rows / n_rows) * (self.n_rows / self.n_items))
        found: list[list[Hit]] = []
        for start in range(0, len(queries), _QUERIES):
            block = queries[start : start + _QUERIES]
            together = self._ask(block, limit)
            found += [
                self._go_on(query, first, limit, wanted, passing) for query, first in zip(block, together, strict=True)
            ]
        return found

    def _go_on(
        self, query: NDArray[np.float32], first: Found, limit: int, wanted: int, passing: NDArray[np.bool_] | None
    ) -> list[Hit]:
        """From what a search for `limit` rows gave: ask for more until there are enough, and none left is as near."""
        got = first
        while True:
            hits = self._collapse(got, passing)
            is_all = limit >= self.n_rows
            is_enough = len(hits) >= wanted and hits[wanted - 1].score > float(got.scores[-1]) + 2 * _ROUNDING
            if is_all or is_enough:
                return self._exactly(query, got, wanted, passing)
            if limit == _LIMITS[-1]:
                break
            limit = _step(limit + 1)
            got = self._ask(query[np.newaxis], limit)[0]
        if len(hits) >= wanted or passing is None:
            return self._exactly(query, got, wanted, passing)
        return self._among(query, np.flatnonzero(passing), wanted)

    def _among(self, query: NDArray[np.float32], rows: NDArray[np.int64], wanted: int) -> list[Hit]:
        """The nearest among these rows alone, which Milvus is told by name."""
        if len(rows) > _LISTED * _LISTS:
            raise FilterTooWide(
                f"{len(rows):,} of the {self.n_rows:,} images of {self.category!r} pass the filter, and fewer than"
                f" {wanted} of their items are among the nearest {_LIMITS[-1]:,}: Milvus can be asked for that only"
                f" where at most {_LISTED * _LISTS:,} pass; narrow the filter, or search without it"
            )
        parts = []
        for start in range(0, len(rows), _LISTED):
            part = rows[start : start + _LISTED]
            names = ",".join(map(str, (self._first_key + part).tolist()))
            parts += self._ask(query[np.newaxis], len(part), f"{KEY} in [{names}]")
        found, scores = (np.concatenate([part[column] for part in parts]) for column in (0, 1))
        order = np.argsort(-scores, kind="stable")
        return self._exactly(query, Found(found[order], scores[order]), wanted, None)

    def _exactly(
        self, query: NDArray[np.float32], found: Found, wanted: int, passing: NDArray[np.bool_] | None
    ) -> list[Hit]:
        """The first `wanted` hits, by the scores of the vectors themselves."""
        hits = self._collapse(found, passing)[:wanted]
        if not hits:
            return []
        near = found.scores >= hits[-1].score - 2 * _ROUNDING
        if passing is not None:
            near &= passing[found.rows]
        rows = found.rows[near][: _FETCHED + wanted * -(-self.n_rows // self.n_items)]  # copies may be without end
        scores = StoredVectors.of_pieces(iter([self.embeddings(rows)])).scores(query, np.arange(len(rows)))
        return self._collapse(Found(rows, np.minimum(scores, np.float32(1))), None)[:wanted]

    def _ask(self, queries: Vectors, limit: int, expression: str = "") -> list[Found]:
        parameters = {} if self._effort is None else {"ef": max(self._effort, limit)}
        answered = self._connection.call(
            "search",
            data=list(queries),
            limit=limit,
            filter=expression or self._own,
            search_params={"metric_type": "IP", "params": parameters},
            consistency_level="Bounded",
            **self._of,
        )
        found = [self._found(hits) for hits in answered]
        # A server that is starting again may search what it has loaded so far.
        least = 1 if self._effort is not None else min(limit, self.n_rows)
        if not expression and any(len(one.rows) < least for one in found):
            raise StoreUnavailable(f"Milvus gives fewer rows of {self.category!r} than there are")
        return found

    def _found(self, hits: Any) -> Found:
        rows = np.array([hit.id for hit in hits], dtype=np.int64) - self._first_key
        scores = np.array([hit["distance"] for hit in hits], dtype=np.float32)
        return Found(rows, scores)

    def _collapse(self, found: Found, passing: NDArray[np.bool_] | None) -> list[Hit]:
        """One hit an item, best first, of those rows that pass."""
        rows, scores = found
        if passing is not None:
            kept = passing[rows]
            rows, scores = rows[kept], scores[kept]
        return best_hits(map(Hit, self._item_numbers[rows].tolist(), scores.tolist()))


def _step(wanted: float) -> int:
    return next((limit for limit in _LIMITS if limit >= wanted), _LIMITS[-1])
