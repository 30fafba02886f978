"""The figures of each partition: size, index kind, recall and the time of a search."""

import time
from dataclasses import dataclass

import numpy as np

from indexer.evaluation.predictions import TOP_K, Predictions

_N_TIMED = 15


@dataclass(frozen=True)
class PartitionFigures:
    """One partition, and the median time of a search by one photo for ten items."""

    category: str
    items: int
    images: int
    rows: int
    index_kind: str
    ann_recall_at_10: float
    search_ms: float


def measure_partitions(predictions: Predictions) -> tuple[PartitionFigures, ...]:
    """Take the figures of the manifest, and time searches by the first photos."""
    queries = predictions.photos.embeddings[:_N_TIMED]
    figures = []
    for entry in predictions.snapshot.manifest.categories:
        partition = predictions.snapshot.partition(entry.name)
        times_s = []
        for position in range(len(queries)):
            started = time.perf_counter()
            partition.search(queries[position : position + 1], TOP_K)
            times_s.append(time.perf_counter() - started)
        figures.append(
            PartitionFigures(
                category=entry.name,
                items=entry.items,
                images=entry.images,
                rows=entry.rows,
                index_kind=entry.index_kind,
                ann_recall_at_10=entry.ann_recall_at_10,
                search_ms=round(1000 * float(np.median(times_s)), 3),
            )
        )
    return tuple(figures)
