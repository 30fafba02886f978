"""The search of one category's items: by a `Partition` in files, or by a `MilvusPartition`.

Only the snapshot knows which of them it has.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shared.vectors import Vectors

Allowed: TypeAlias = NDArray[np.bool_]
"""`(n,)` bool by item number: True for the items to search."""


class Hit(NamedTuple):
    """An item's number in the snapshot, and its best score, a cosine."""

    item_number: int
    score: float


class CategorySearch(Protocol):
    """The items of one category; an item has several rows if it has several images or views."""

    @property
    def category(self) -> str:
        """The items' category."""

    @property
    def n_rows(self) -> int:
        """Number of embeddings."""

    @property
    def n_items(self) -> int:
        """Number of items."""

    @property
    def dim(self) -> int:
        """Length of an embedding."""

    @property
    def is_exact(self) -> bool:
        """True if a search compares every row."""

    def search(self, queries: Vectors, top_k: int, allowed: Allowed | None = None) -> list[list[Hit]]:
        """Find the `top_k` nearest items of each query, best first, ties by item number.

        Any number of threads may search at once.

        Args:
            queries: `(n_queries, dim)` float32, unit rows.
            top_k: number of items per query; fewer are returned if there are fewer.
            allowed: the items to search; None for all.

        Raises:
            StoreUnavailable: the vectors are on a server that does not answer.
            FilterTooWide: they are on a server, which can't search so many allowed items.
        """

    def embeddings(self, rows: Sequence[int] | NDArray[np.int64]) -> Vectors:
        """The embeddings of these rows, `(len(rows), dim)` float32.

        Raises:
            StoreUnavailable: the vectors are on a server that does not answer.
        """

    def item_numbers(self) -> NDArray[np.int64]:
        """`(n_rows,)` int64: the item of each row."""


def best_hits(hits: Iterable[Hit]) -> list[Hit]:
    """The best hit of each item, best first, ties by item number."""
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
    """Find the `top_k` nearest items over several partitions, to any of several pictures of one query, best first.

    Args:
        partitions: to search.
        queries: `(n_pictures, dim)` float32, unit rows, all of one query.
        top_k: number of items.
        allowed: the items to search; None for all.
        check: called before each partition; raises to stop the search.
    """

    def all_hits() -> Iterator[Hit]:
        for partition in partitions:
            check()
            for hits in partition.search(queries, top_k, allowed):
                yield from hits

    return best_hits(all_hits())[:top_k]
