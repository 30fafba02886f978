"""How hard drawn vectors are to search, beside the real embeddings that they are drawn around."""

from collections.abc import Mapping

import numpy as np

from benchmarks.ann.drawn_vectors import Cloud, local_intrinsic_dimension
from benchmarks.harness.rows import print_records
from shared.vectors import Vectors

_MOST_QUERIES = 200
_MANY = 30_000


def print_difficulty(real: Mapping[str, Vectors]) -> None:
    """Print median local intrinsic dimension and cosines to the first and tenth neighbour, a category a line.

    A third of the photos, 200 at most, are the queries among the rest; as many vectors are drawn for queries and to
    search among, and once more many to search among, as the estimate grows with the density.
    """
    rng = np.random.default_rng(0)
    records = []
    for category, photos in real.items():
        mixed = photos[rng.permutation(len(photos))]
        n_queries = min(_MOST_QUERIES, len(photos) // 3)
        cloud = Cloud.of(photos)
        drawn = cloud.draw(n_queries, rng)
        sets = {
            "real": (mixed[:n_queries], mixed[n_queries:]),
            "drawn": (drawn, cloud.draw(len(photos) - n_queries, rng)),
            f"{_MANY:,} drawn": (drawn, cloud.draw(_MANY, rng)),
        }
        record: dict[str, object] = {"category": category, "photos": len(photos)}
        for name, (queries, among) in sets.items():
            record |= {name: float(np.median(local_intrinsic_dimension(queries, among)))}
            record |= {f"{name}, cosines": _cosines(queries, among)}
        records.append(record)
    print_records("Local intrinsic dimension (20 neighbours), cosines to the neighbours", records)


def _cosines(queries: Vectors, among: Vectors) -> str:
    best = -np.partition(-(queries @ among.T), 9, axis=1)[:, :10]
    return f"{np.median(best.max(axis=1)):.2f} {np.median(best.min(axis=1)):.2f}"
