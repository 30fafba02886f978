"""Search of a partition without some items of each query, such as those that show the same as it."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from shared.index.category_search import Allowed, CategorySearch, Hit
from shared.vectors import Vectors

_MAX_SURPLUS = 32
"""Most hits that are fetched only to be dropped; beyond that the items are masked, one search per set of them."""


def search_without(
    partition: CategorySearch, queries: Vectors, excluded: Sequence[frozenset[int]], top_k: int
) -> list[list[Hit]]:
    """Find the `top_k` nearest items of each query that are not excluded, best first.

    Args:
        partition: to search.
        queries: `(n_queries, dim)` float32, unit rows.
        excluded: for each query the numbers of items that are not to be hits; any may be of other partitions.
        top_k: number of items per query; fewer are returned if there are fewer.

    Raises:
        StoreUnavailable: the vectors are on a server that does not answer.
    """
    own = excluded
    if max(map(len, excluded), default=0) > 1:
        own = _in_partition(excluded, partition.item_numbers())
    results: list[list[Hit]] = [[] for _ in own]
    for chosen, surplus, allowed in _searches(own, partition):
        for query, hits in zip(chosen, partition.search(queries[chosen], top_k + surplus, allowed), strict=True):
            results[query] = [hit for hit in hits if hit.item_number not in own[query]][:top_k]
    return results


def _searches(
    excluded: Sequence[frozenset[int]], partition: CategorySearch
) -> Iterator[tuple[list[int], int, Allowed | None]]:
    """Yield the queries to search by at once, how many hits more than needed, and the items to search."""
    sets: dict[frozenset[int], list[int]] = {}
    for query, items in enumerate(excluded):
        sets.setdefault(items if len(items) > _MAX_SURPLUS else frozenset(), []).append(query)
    few = sets.pop(frozenset(), [])
    for surplus in sorted({min(len(excluded[query]), 1) for query in few}):
        chosen = [query for query in few if min(len(excluded[query]), 1) == surplus]
        yield chosen, max(len(excluded[query]) for query in chosen), None
    for items, chosen in sets.items():
        allowed = np.ones(int(partition.item_numbers().max()) + 1, dtype=np.bool_)
        allowed[list(items)] = False
        yield chosen, 0, allowed


def _in_partition(excluded: Sequence[frozenset[int]], numbers: NDArray[np.int64]) -> list[frozenset[int]]:
    """Of each set of items those that are in the partition; `numbers` is that of each row's item."""
    highest = int(numbers.max(initial=-1))
    is_member = np.zeros(highest + 1, dtype=np.bool_)
    is_member[numbers] = True
    own = {items: frozenset(item for item in items if item <= highest and is_member[item]) for items in set(excluded)}
    return [own[items] for items in excluded]
