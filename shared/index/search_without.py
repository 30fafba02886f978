"""Search of a partition without some items of each query, such as those that show the same as it."""

from collections.abc import Sequence

import numpy as np

from shared.index.category_search import CategorySearch, Hit
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
    large = {items for items in excluded if len(items) > _MAX_SURPLUS}
    surplus = max((len(items) for items in excluded if items not in large), default=0)
    together = [query for query, items in enumerate(excluded) if items not in large]
    results: list[list[Hit]] = [[] for _ in excluded]
    if together:
        for query, hits in zip(together, partition.search(queries[together], top_k + surplus), strict=True):
            results[query] = [hit for hit in hits if hit.item_number not in excluded[query]][:top_k]
    numbers = partition.item_numbers() if large else np.zeros(0, np.int64)
    for items in large:
        of_items = [query for query, own in enumerate(excluded) if own == items]
        allowed = np.ones(int(max(numbers.max(initial=-1), *items)) + 1, dtype=np.bool_)
        allowed[list(items)] = False
        for query, hits in zip(of_items, partition.search(queries[of_items], top_k, allowed), strict=True):
            results[query] = hits
    return results
