"""Choice of a partition's index by measurement: the cheapest kind that holds the recall of exact search.

1. A partition that is cheap to search exactly has no index.
2. Identical rows share a position; positions are shuffled, and the last ones are held out as queries.
3. The candidate kinds, those of the shortest codes first, are built on a sample and tuned there to the required recall,
   until one reaches it with a low `efSearch` or `nprobe`; the fastest of them is chosen.
4. It is built on all rows except the held-out ones and tuned again; if it misses the recall, the next kind is tried.
5. The held-out rows are added.
"""

import hashlib
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import faiss
import numpy as np
from numpy.typing import NDArray

from indexer.partitions.index_policy import IndexPolicy
from shared.index.approximate_index import ApproximateIndex
from shared.index.index_kind import IndexKind
from shared.index.rows_by_position import RowsByPosition
from shared.index.search_settings import SearchSettings
from shared.index.stored_vectors import StoredVectors
from shared.vectors import Vectors

# A margin above the promised 0.99 for the error of a sample of queries.
_MIN_RECALL = 0.993
_NEIGHBOURS = 10
_MAX_QUERIES = 1_000
_SAMPLE_POSITIONS = 5_000
_TRAINING_ROWS = 20_000
_TRAINING_ROWS_PER_LIST = 40
_MAX_CANDIDATES = 512
# In steps of about a tenth, each of which takes a tenth of a search's time.
_EF_SEARCH = (
    *(12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64, 72, 80, 88, 96, 112, 128),
    *(144, 160, 192, 224, 256, 320, 384, 448, 512),
)
_NPROBE = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256)
_LOW_SEARCH_PARAMETER = 64
_TIE = 1e-6
_CHUNK = 4096
_SEED = 0


@dataclass(frozen=True)
class TunedIndex:
    """An index with the search settings that reach the required recall.

    Attributes:
        index: the index.
        recall: the share of the ten nearest rows among its candidates, for queries that were not in it.
        p50_ms: median processor time of finding candidates and re-ranking them, on one thread.
    """

    index: ApproximateIndex
    recall: float
    p50_ms: float


def choose_index(vectors: StoredVectors, policy: IndexPolicy) -> TunedIndex | None:
    """Choose and build the index of a partition; None for exact search.

    Args:
        vectors: the partition's vectors, float32.
        policy: the indexes allowed.
    """
    if policy.is_exact(vectors.n_rows, vectors.dim):
        return None
    rows = RowsByPosition.shuffled(first_copies(vectors), _SEED)
    if policy.is_exact(rows.n_positions, vectors.dim):
        return None  # almost all rows are copies
    n_queries = min(_MAX_QUERIES, rows.n_positions // 10)
    trial = _Trial(vectors, rows, rows.n_positions - n_queries)
    tuned = _fastest(policy.kinds_to_try(vectors.dim, rows.n_positions), trial)
    if tuned is not None:
        trial.add_queries(tuned.index.index)
    return tuned


@dataclass(frozen=True)
class _Trial:
    """A partition whose first positions are indexed, and whose last ones are queries.

    Attributes:
        vectors: of the partition.
        rows: its rows by shuffled position.
        n_indexed: the number of positions that are indexed.
    """

    vectors: StoredVectors
    rows: RowsByPosition
    n_indexed: int

    def sample(self, n_indexed: int) -> "_Trial":
        """Index fewer positions, with the same queries."""
        return _Trial(self.vectors, self.rows, min(n_indexed, self.n_indexed))

    def embeddings(self, positions: NDArray[np.int64]) -> Vectors:
        return self.vectors.embeddings(self.rows.first_rows(positions))

    @cached_property
    def queries(self) -> Vectors:
        end = self.rows.n_positions
        return self.embeddings(np.arange(end - min(_MAX_QUERIES, end // 10), end))

    def build(self, kind: str) -> ApproximateIndex:
        """Build an index of the first positions, not yet tuned."""
        training = np.arange(min(self.n_indexed, _training_rows(kind)))
        index = IndexKind(kind, self.vectors.dim).trained(self.embeddings(training))
        self._add(index, 0, self.n_indexed)
        return ApproximateIndex(index, self.rows, SearchSettings(kind, 1, min(_MAX_CANDIDATES, self.n_indexed)))

    def add_queries(self, index: faiss.Index) -> None:
        """Add the held-out positions to an index of all others."""
        self._add(index, self.n_indexed, self.rows.n_positions)

    def _add(self, index: faiss.Index, start: int, stop: int) -> None:
        for begin in range(start, stop, _CHUNK):
            index.add(self.embeddings(np.arange(begin, min(begin + _CHUNK, stop))))

    @cached_property
    def tenth_scores(self) -> NDArray[np.float32]:
        """`(n_queries,)` float32: the score of each query's tenth nearest indexed position, by exact search."""
        queries = self.queries
        best = np.full((len(queries), _NEIGHBOURS), -np.inf, dtype=np.float32)
        for start in range(0, self.n_indexed, _CHUNK):
            rows = self.embeddings(np.arange(start, min(start + _CHUNK, self.n_indexed)))
            scores = np.hstack([best, queries @ rows.T])
            best = np.partition(scores, -_NEIGHBOURS, axis=1)[:, -_NEIGHBOURS:]
        tenth: NDArray[np.float32] = best.min(axis=1)
        return tenth


def _training_rows(kind: str) -> int:
    n_lists = kind.partition("IVF")[2].partition(",")[0]
    return max(_TRAINING_ROWS, _TRAINING_ROWS_PER_LIST * int(n_lists or 0))


def _fastest(kinds: Sequence[str], trial: _Trial) -> TunedIndex | None:
    """Build the kind that is fastest on a sample, or the next that reaches the recall; None if none does.

    If a sample would hardly be smaller than the partition, the whole partition is the sample.

    Args:
        kinds: those of the shortest codes first.
        trial: the partition.
    """
    sample = trial if trial.n_indexed <= 2 * _SAMPLE_POSITIONS else trial.sample(_SAMPLE_POSITIONS)
    reached: dict[str, TunedIndex] = {}
    for kind in kinds:
        if reached and not IndexKind(kind, trial.vectors.dim).is_projected:
            break  # rows without projection are so much longer that each step is slower, and building takes much longer
        tuned = _tune(sample.build(kind), sample)
        if tuned is not None:
            reached[kind] = tuned
            if tuned.index.settings.search_parameter <= _LOW_SEARCH_PARAMETER:
                break
    ranked = sorted(reached, key=lambda kind: reached[kind].p50_ms)
    if sample is trial:
        return reached[ranked[0]] if ranked else None
    untried = [kind for kind in kinds if kind not in reached]
    candidates = (_tune(trial.build(kind), trial) for kind in [*ranked, *untried])
    return next((tuned for tuned in candidates if tuned is not None), None)


def _tune(index: ApproximateIndex, trial: _Trial) -> TunedIndex | None:
    """Find the lowest `efSearch` or `nprobe`, then the fewest candidates, that reach the recall; None if none does."""
    queries, tenth = trial.queries, trial.tenth_scores - _TIE
    is_graph = IndexKind(index.settings.kind, trial.vectors.dim).is_graph
    search_parameters = _EF_SEARCH if is_graph else _NPROBE

    @cache
    def recalls(search_parameter: int) -> NDArray[np.float64]:
        n_candidates = min(search_parameter if is_graph else _MAX_CANDIDATES, trial.n_indexed)
        return _recall_by_candidates(index.with_parameters(search_parameter, n_candidates), trial, queries, tenth)

    # Recall grows with the parameter, so bisection finds it, and the most expensive ones are seldom measured.
    choice = bisect_left(search_parameters, _MIN_RECALL, key=lambda parameter: float(recalls(parameter)[-1]))
    if choice == len(search_parameters):
        return None
    recall = recalls(search_parameters[choice])
    n_candidates = max(_NEIGHBOURS, 1 + int(np.argmax(recall >= _MIN_RECALL)))
    tuned = index.with_parameters(search_parameters[choice], n_candidates)
    return TunedIndex(tuned, float(recall[n_candidates - 1]), _p50_ms(tuned, trial, queries))


def _recall_by_candidates(
    index: ApproximateIndex, trial: _Trial, queries: Vectors, tenth: NDArray[np.float32]
) -> NDArray[np.float64]:
    """`(n_candidates,)`: the share of the ten nearest among the first candidate, the first two, and so on."""
    is_near = np.zeros((len(queries), index.settings.n_candidates))
    for row, query, threshold in zip(is_near, queries, tenth, strict=True):
        scores = trial.vectors.scores(query, trial.rows.first_rows(index.positions(query)))
        row[: len(scores)] = scores >= threshold
    recalls: NDArray[np.float64] = np.minimum(is_near.cumsum(axis=1), _NEIGHBOURS).mean(axis=0) / _NEIGHBOURS
    return recalls


def _p50_ms(index: ApproximateIndex, trial: _Trial, queries: Vectors) -> float:
    """Median processor time of a search on one thread, as in a request; other load on the machine does not count."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    times = []
    try:
        for query in queries:
            started = time.thread_time()
            trial.vectors.scores(query, trial.rows.first_rows(index.positions(query)))
            times.append(1000 * (time.thread_time() - started))
    finally:
        faiss.omp_set_num_threads(threads)
    return float(np.median(times))


def first_copies(vectors: StoredVectors) -> NDArray[np.int64]:
    """`(n_rows,)` int64: for each row the first row with exactly the same bits."""
    seen: dict[bytes, int] = {}
    first = np.empty(vectors.n_rows, dtype=np.int64)
    for start, rows in vectors.batches():
        for row, values in enumerate(rows, start):
            first[row] = seen.setdefault(hashlib.blake2b(values.tobytes(), digest_size=16).digest(), row)
    return first
