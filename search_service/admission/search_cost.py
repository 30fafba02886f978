"""Tell searches that take a core for long from those that take a moment, before they run."""

from collections.abc import Sequence

from shared.index.category_search import CategorySearch
from shared.retrieval.search_options import SearchOptions
from shared.snapshot.snapshot import Snapshot

_DEEP = 200
"""A page that ends behind so many hits is costly."""

_MANY_ROWS = 50_000
"""So many embeddings to compare, with all pictures of a query together, take a core for some 15 ms."""

_SEARCH_ROWS = 500
"""Embeddings that could be compared in the time that a partition takes besides."""

_PROPOSED_ROWS = 5000
"""The same for what an approximate index takes."""


def is_costly_search(
    snapshot: Snapshot, options: SearchOptions, n_pictures: int, partitions: Sequence[CategorySearch]
) -> bool:
    """Whether a search may take a core longer than some milliseconds; one by one picture in one category does not.

    Args:
        snapshot: to search.
        options: the caller's.
        n_pictures: of the query.
        partitions: the categories to search.
    """
    if options.collapse_above is not None or options.group_by is not None:
        return True
    if options.filter is not None and not snapshot.items.is_cached(options.filter):
        return True
    if options.offset + options.top_k > _DEEP:
        return True
    if n_pictures == 1 and len(partitions) == 1:
        return False
    return n_pictures * sum(map(_rows, partitions)) > _MANY_ROWS


def _rows(partition: CategorySearch) -> int:
    return _SEARCH_ROWS + (partition.n_rows if partition.is_exact else min(partition.n_rows, _PROPOSED_ROWS))
