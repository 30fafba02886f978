"""Kinds of approximate indexes on the largest category of synthetic vectors: recall and time by search parameter.

The index finds candidates and the original vectors re-rank them, as in `shared.index.partition`, with one thread.
Vectors and queries are those of `benchmarks.ann.scale`; no query is a row.
"""

import time
from collections.abc import Sequence
from typing import Any

import faiss
import numpy as np

from benchmarks.ann.real_embeddings import CACHE, real_embeddings
from benchmarks.ann.synthetic_set import NEIGHBOURS, SyntheticSet, make_synthetic_set
from benchmarks.harness.options import option_parser
from benchmarks.harness.rows import machine, print_records, store
from shared.index.approximate_index import ApproximateIndex
from shared.index.index_kind import IndexKind
from shared.index.rows_by_position import RowsByPosition
from shared.index.search_settings import SearchSettings
from shared.index.stored_vectors import StoredVectors
from shared.vectors import Vectors

_KINDS = (
    *("P128,HNSW16,SQfp16", "P128,HNSW16,SQ8", "P256,HNSW16,SQfp16", "P256,HNSW16,SQ8", "HNSW16,SQfp16"),
    "IVF512,PQ320x4fs",
)
_SEARCH_PARAMS = (24, 32, 48, 64, 96)
_LIST_DEPTH = 100
_TRAINED_ON = 20_000
_QUERIES = 1000
_SMOKE_SIZE = 2_000


def main() -> None:
    """Measure, print and store."""
    parser = option_parser("ann.index_kinds", __doc__)
    parser.add_argument("--size", type=int, default=100_000, help="vectors in ten categories (default: 100,000)")
    parser.add_argument("--kinds", nargs="+", default=_KINDS, help=f"(default: {' '.join(_KINDS)})")
    options = parser.parse_args()
    size = _SMOKE_SIZE if options.smoke else options.size
    dataset = make_synthetic_set(CACHE / "scale" / str(size), real_embeddings(options.photos), size, _QUERIES, seed=0)
    vectors, queries, tenth = _largest_category(dataset)
    kinds = [kind for kind in options.kinds if not options.smoke or "IVF" not in kind]
    records = [record for kind in kinds for record in _measured(kind, vectors, queries, tenth)]
    print_records(f"{vectors.n_rows:,} vectors of {vectors.dim} dimensions", records)
    store("index_kinds", options.smoke, {"machine": machine(), "size": size, "kinds": records})


def _largest_category(dataset: SyntheticSet) -> tuple[StoredVectors, Vectors, Vectors]:
    """Return the vectors and queries of category 0, and the score of each query's tenth neighbour."""
    members = np.flatnonzero(np.load(dataset.categories) == 0)
    asked = np.load(dataset.query_categories) == 0
    rows, queries = np.load(dataset.vectors, mmap_mode="r"), np.load(dataset.queries)[asked]
    furthest = rows[np.load(dataset.nearest)[asked][:, NEIGHBOURS - 1]]
    return StoredVectors.from_batches(iter([rows[members]])), queries, np.einsum("ij,ij->i", queries, furthest)


def _measured(name: str, vectors: StoredVectors, queries: Vectors, tenth: Vectors) -> list[dict[str, Any]]:
    """Return one record per search parameter."""
    kind = IndexKind(name, vectors.dim)
    sample = np.random.default_rng(0).permutation(vectors.n_rows)[:_TRAINED_ON]
    started = time.perf_counter()
    index = kind.trained(vectors.embeddings(sample))
    for _, rows in vectors.batches():
        index.add(rows)
    build_s = time.perf_counter() - started
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    positions = RowsByPosition(np.arange(vectors.n_rows + 1), np.arange(vectors.n_rows))
    records = []
    for params in _SEARCH_PARAMS:
        depth = min(params if kind.is_graph else _LIST_DEPTH, vectors.n_rows)
        approximate = ApproximateIndex(index, positions, SearchSettings(name, params, depth))
        about = {"kind": name, "bytes": kind.bytes_per_vector, "build_s": build_s, "params": params, "depth": depth}
        records.append({**about, **_searched(approximate, vectors, queries, tenth.tolist())})
    faiss.omp_set_num_threads(threads)
    return records


def _searched(
    index: ApproximateIndex, vectors: StoredVectors, queries: Vectors, tenth: Sequence[float]
) -> dict[str, float]:
    """Return recall@10 and the median CPU time of a search."""
    took_s, right = [], 0
    for query, wanted in zip(queries, tenth, strict=True):
        started = time.thread_time()
        scores = vectors.scores(query, index.candidates(query))
        took_s.append(time.thread_time() - started)
        right += min(NEIGHBOURS, int(np.count_nonzero(scores >= wanted - 1e-6)))
    return {"recall": right / (NEIGHBOURS * len(queries)), "p50_ms": 1000 * float(np.median(took_s))}


if __name__ == "__main__":
    main()
