"""Searching the items of one category, wherever its vectors are: `Partition` has them in files, Milvus in a server.

Nothing outside a snapshot knows which.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shared.vectors import Vectors

Allowed: TypeAlias = NDArray[np.bool_]
"""`(n,)` bool by item number: which items may be found."""


class Hit(NamedTuple):
    """An item found: its number in the snapshot and its best score, a cosine."""

    item_number: int
    score: float


class CategorySearch(Protocol):
    """The items of one category, several rows an item where it has several images or views."""

    @property
    def category(self) -> str:
        """Whose items these are."""

    @property
    def n_rows(self) -> int:
        """How many embeddings."""

    @property
    def n_items(self) -> int:
        """How many items these show."""

    @property
    def dim(self) -> int:
        """How long an embedding is."""

    @property
    def is_exact(self) -> bool:
        """Whether each search compares every row."""

    def search(self, queries: Vectors, top_k: int, allowed: Allowed | None = None) -> list[list[Hit]]:
        """The `top_k` nearest items of each query, best first, equal scores by item number.

        Any number of threads may search at once.

        Args:
            queries: `(n_queries, dim)` float32, unit rows.
            top_k: how many items a query; fewer come back where there are fewer.
            allowed: the items to search, if not all.

        Raises:
            StoreUnavailable: the vectors are on a server that does not answer.
            FilterTooWide: they are on a server, and it can't search so many items that pass.
        """

    def embeddings(self, rows: Sequence[int] | NDArray[np.int64]) -> Vectors:
        """The embeddings in these rows, `(len(rows), dim)` float32.

        Raises:
            StoreUnavailable: the vectors are on a server that does not answer.
        """

    def item_numbers(self) -> NDArray[np.int64]:
        """`(n_rows,)` int64: the item that each row shows."""


def best_hits(hits: Iterable[Hit]) -> list[Hit]:
    """One hit an item, its best; best first, equal scores by item number."""
    best: dict[int, Hit] = {}
    for hit in hits:
        kept = best.get(hit.item_number)
        if kept is None or hit.score > kept.score:
            best[hit.item_number] = hit
    return sorted(best.values(), key=lambda hit: (-hit.score, hit.item_number))


def search_partitions(
    partitions: Sequence[CategorySearch],
    queries: Vectors,
    top_k: int,
    allowed: Allowed | None = None,
    check: Callable[[], None] = lambda: None,
) -> list[Hit]:
    """The `top_k` nearest items over several partitions, to any of several pictures of one query, best first.

    Args:
        partitions: where to look.
        queries: `(n_pictures, dim)` float32, unit rows, all of one query.
        top_k: how many items.
        allowed: the items to search, if not all.
        check: called before each partition; raises where the work is to end.
    """

    def found() -> Iterator[Hit]:
        for partition in partitions:
            check()
            for hits in partition.search(queries, top_k, allowed):
                yield from hits

    return best_hits(found())[:top_k]
