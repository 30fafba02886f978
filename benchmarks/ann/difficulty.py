"""Difficulty of searching synthetic vectors, compared with the real embeddings that they are based on."""

from collections.abc import Mapping

import numpy as np

from benchmarks.ann.synthetic_vectors import Cloud, local_intrinsic_dimension
from benchmarks.harness.rows import print_records
from shared.vectors import Vectors

_MOST_QUERIES = 200
_MANY = 30_000


def print_difficulty(real: Mapping[str, Vectors]) -> None:
    """Print, per category, the median local intrinsic dimension and the cosines to the first and tenth neighbour.

    A third of the photos, at most 200, are queries against the rest. As many synthetic vectors are
    compared, and a large set too, since the estimate grows with the density.
    """
    rng = np.random.default_rng(0)
    records = []
    for category, photos in real.items():
        mixed = photos[rng.permutation(len(photos))]
        n_queries = min(_MOST_QUERIES, len(photos) // 3)
        cloud = Cloud.of(photos)
        synthetic_queries = cloud.sample(n_queries, rng)
        sets = {
            "real": (mixed[:n_queries], mixed[n_queries:]),
            "synthetic": (synthetic_queries, cloud.sample(len(photos) - n_queries, rng)),
            f"{_MANY:,} synthetic": (synthetic_queries, cloud.sample(_MANY, rng)),
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
