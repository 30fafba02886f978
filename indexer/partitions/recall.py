"""Recall of a partition's index against exact search."""

import numpy as np
from numpy.typing import NDArray

from shared.index.category_search import CategorySearch
from shared.index.partition import Partition
from shared.index.stored_vectors import StoredVectors
from shared.vectors import Vectors

# Few queries confirm an exact index; an approximate one needs enough to distinguish 0.993 from 0.99.
_SAMPLE = {True: 64, False: 256}
_TIE = 1e-6
_CHUNK = 4096


def ann_recall_at_10(partition: CategorySearch, vectors: StoredVectors | Partition | None = None) -> float:
    """Return the share of the exact ten nearest items that a partition finds, for a sample of its rows as queries.

    Exact search is plain NumPy here, so that it shares nothing with the index. Items as near as the tenth count as
    right, whichever of them the index returned.

    Args:
        partition: the partition.
        vectors: its original embeddings, if it stores encoded ones, or stores them elsewhere.
    """
    embeddings = partition.embeddings if vectors is None else vectors.embeddings
    sample = np.unique(np.linspace(0, partition.n_rows - 1, _SAMPLE[partition.is_exact]).astype(int))
    queries = embeddings(sample)
    scores = np.empty((len(queries), partition.n_rows), dtype=np.float32)
    for start in range(0, partition.n_rows, _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, partition.n_rows))
        scores[:, start : start + len(rows)] = queries @ embeddings(rows).T
    items, row_items = np.unique(partition.item_numbers(), return_inverse=True)
    recalls = [_recall(partition, query, items, row_items, row) for query, row in zip(queries, scores, strict=True)]
    return float(np.mean(recalls))


def _recall(
    partition: CategorySearch,
    query: Vectors,
    items: NDArray[np.int64],
    row_items: NDArray[np.intp],
    scores: NDArray[np.float32],
) -> float:
    """Recall of one query, given the scores of all rows, whose items are `items[row_items]`."""
    exact = np.full(len(items), -np.inf, dtype=np.float32)
    np.maximum.at(exact, row_items, scores)
    k = min(10, len(items))
    tenth = np.partition(exact, -k)[-k]
    hits = [hit.item_number for hit in partition.search(query[np.newaxis], 10)[0]]
    return float(np.sum(exact[np.searchsorted(items, hits)] >= tenth - _TIE)) / k
