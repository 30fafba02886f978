"""Estimate of whether a search is costly, made before it runs."""

from collections.abc import Sequence

from shared.index.category_search import CategorySearch
from shared.retrieval.search_options import SearchOptions
from shared.snapshot.snapshot import Snapshot

_MAX_CHEAP_HITS = 200
"""A page that ends after more hits is costly."""

_MAX_CHEAP_ROWS = 50_000
"""Embeddings compared over all images of a query; this many take about 15 ms of a core."""

_PARTITION_ROWS = 500
"""Fixed cost of searching a partition, in compared embeddings."""

_MAX_ANN_ROWS = 5000
"""Largest cost of searching an approximate index, in compared embeddings."""


def is_costly_search(
    snapshot: Snapshot, options: SearchOptions, n_searches: int, partitions: Sequence[CategorySearch]
) -> bool:
    """Return True if a search may take more than some milliseconds of a core; one image in one category does not.

    Args:
        snapshot: to search.
        options: of the query.
        n_searches: number of searches of each category, one per image of the query and match level of its text.
        partitions: the categories to search.
    """
    if options.collapse_above is not None or options.group_by is not None:
        return True
    if options.filter is not None and not snapshot.items.is_cached(options.filter):
        return True
    if options.offset + options.top_k > _MAX_CHEAP_HITS:
        return True
    if n_searches == 1 and len(partitions) == 1:
        return False
    return n_searches * sum(map(_rows, partitions)) > _MAX_CHEAP_ROWS


def _rows(partition: CategorySearch) -> int:
    return _PARTITION_ROWS + (partition.n_rows if partition.is_exact else min(partition.n_rows, _MAX_ANN_ROWS))
