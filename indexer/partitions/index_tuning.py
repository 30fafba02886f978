"""Choose how a partition is searched, by measuring: the cheapest kind of index that finds what exact search finds.

1. A partition that is cheap to compare as a whole has no index.
2. Rows that are the same share a place; places are in an order drawn by chance, and the last are held out as queries.
3. Candidate kinds, those of the shortest codes first, are built of a sample and tuned there to the recall that is
   wanted, until one reaches it with little effort; the quickest of them is it.
4. It is built of all rows but the held-out ones and tuned again; where it misses the recall, the next has a turn.
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

# More than is promised, by what a sample of queries may be wrong.
_WANTED_RECALL = 0.993
_NEIGHBOURS = 10
_QUERIES = 1_000
_TRIAL_ROWS = 5_000
_TRAINED_ON = 20_000
_TRAINED_ON_A_LIST = 40
_MOST_DEPTH = 512
# In steps of a tenth or so: each is a tenth of a search's time.
_GRAPH_EFFORTS = (
    *(12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64, 72, 80, 88, 96, 112, 128),
    *(144, 160, 192, 224, 256, 320, 384, 448, 512),
)
_LITTLE_EFFORT = 64
_LIST_EFFORTS = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 256)
_TIE = 1e-6
_CHUNK = 4096
_SEED = 0


@dataclass(frozen=True)
class Tuned:
    """An index with the settings that reach the recall.

    Attributes:
        index: it.
        recall: the share of the ten nearest rows that it proposes, over queries that are none of its rows.
        p50_ms: median processor time of a proposal and its comparison, on one thread.
    """

    index: ApproximateIndex
    recall: float
    p50_ms: float


def choose_index(vectors: StoredVectors, policy: IndexPolicy) -> Tuned | None:
    """The index of a partition; None where all rows are compared.

    Args:
        vectors: `float32`.
        policy: what is allowed.
    """
    if policy.is_exact(vectors.n_rows, vectors.dim):
        return None
    rows = RowsByPosition.shuffled(first_copies(vectors), _SEED)
    if policy.is_exact(rows.n_positions, vectors.dim):
        return None  # hardly anything but copies
    n_queries = min(_QUERIES, rows.n_positions // 10)
    task = _Task(vectors, rows, rows.n_positions - n_queries)
    tuned = _quickest(policy.candidates(vectors.dim, rows.n_positions), task)
    if tuned is not None:
        task.finish(tuned.index.index)
    return tuned


@dataclass(frozen=True)
class _Task:
    """The first `n_built` places are indexed, the others ask.

    Attributes:
        vectors: of the partition.
        rows: in places by chance.
        n_built: how many places.
    """

    vectors: StoredVectors
    rows: RowsByPosition
    n_built: int

    def sample(self, count: int) -> "_Task":
        """The first places alone, with the same queries."""
        return _Task(self.vectors, self.rows, min(count, self.n_built))

    def of_places(self, places: NDArray[np.int64]) -> Vectors:
        return self.vectors.embeddings(self.rows.first_rows(places))

    @cached_property
    def queries(self) -> Vectors:
        last = self.rows.n_positions
        return self.of_places(np.arange(last - min(_QUERIES, last // 10), last))

    def built(self, name: str) -> ApproximateIndex:
        """An index of the first places, not yet tuned."""
        kind = IndexKind(name, self.vectors.dim)
        index = kind.trained(self.of_places(np.arange(min(self.n_built, _training_rows(name)))))
        _add(index, self, 0, self.n_built)
        return ApproximateIndex(index, self.rows, SearchSettings(name, 1, min(_MOST_DEPTH, self.n_built)))

    def finish(self, index: faiss.Index) -> None:
        """Add the places that asked."""
        _add(index, self, self.n_built, self.rows.n_positions)

    @cached_property
    def tenth_scores(self) -> NDArray[np.float32]:
        """`(n_queries,)`: the score of each query's tenth nearest place."""
        queries = self.queries
        best = np.full((len(queries), _NEIGHBOURS), -np.inf, dtype=np.float32)
        for start in range(0, self.n_built, _CHUNK):
            rows = self.of_places(np.arange(start, min(start + _CHUNK, self.n_built)))
            scores = np.hstack([best, queries @ rows.T])
            best = np.partition(scores, -_NEIGHBOURS, axis=1)[:, -_NEIGHBOURS:]
        tenth: NDArray[np.float32] = best.min(axis=1)
        return tenth


def _add(index: faiss.Index, task: _Task, start: int, stop: int) -> None:
    for begin in range(start, stop, _CHUNK):
        index.add(task.of_places(np.arange(begin, min(begin + _CHUNK, stop))))


def _training_rows(name: str) -> int:
    lists = name.partition("IVF")[2].partition(",")[0]
    return max(_TRAINED_ON, _TRAINED_ON_A_LIST * int(lists or 0))


def _quickest(names: Sequence[str], task: _Task) -> Tuned | None:
    """An index of the kind that is quickest on a sample, or of the next that reaches the recall; None if none does.

    Where a sample would hardly be smaller than the whole, the whole is the sample.

    Args:
        names: of kinds, those of the shortest codes first.
        task: the partition.
    """
    trial = task if task.n_built <= 2 * _TRIAL_ROWS else task.sample(_TRIAL_ROWS)
    reached: dict[str, Tuned] = {}
    for name in names:
        if reached and not IndexKind(name, task.vectors.dim).is_projected:
            break  # rows that are so much longer make each step slower, and building takes much longer
        tuned = _tuned(trial.built(name), trial)
        if tuned is not None:
            reached[name] = tuned
            if tuned.index.settings.search_parameter <= _LITTLE_EFFORT:
                break
    ranked = sorted(reached, key=lambda name: reached[name].p50_ms)
    if trial is task:
        return reached[ranked[0]] if ranked else None
    found = (_tuned(task.built(name), task) for name in [*ranked, *(one for one in names if one not in reached)])
    return next((tuned for tuned in found if tuned is not None), None)


def _tuned(index: ApproximateIndex, task: _Task) -> Tuned | None:
    """The least effort, then the fewest proposals, that reach the recall; None if none does."""
    queries, tenth = task.queries, task.tenth_scores - _TIE
    is_graph = IndexKind(index.settings.kind, task.vectors.dim).is_graph
    efforts = _GRAPH_EFFORTS if is_graph else _LIST_EFFORTS

    @cache
    def recalls(effort: int) -> NDArray[np.float64]:
        most = min(effort if is_graph else _MOST_DEPTH, task.n_built)
        return _recall_by_depth(index.with_parameters(effort, most), task, queries, tenth)

    # Recall grows with effort, so halving finds it, and the dearest efforts are seldom tried.
    place = bisect_left(efforts, _WANTED_RECALL, key=lambda effort: float(recalls(effort)[-1]))
    if place == len(efforts):
        return None
    found = recalls(efforts[place])
    depth = max(_NEIGHBOURS, 1 + int(np.argmax(found >= _WANTED_RECALL)))
    told = index.with_parameters(efforts[place], depth)
    return Tuned(told, float(found[depth - 1]), _p50_ms(told, task, queries))


def _recall_by_depth(
    index: ApproximateIndex, task: _Task, queries: Vectors, tenth: NDArray[np.float32]
) -> NDArray[np.float64]:
    """`(depth,)`: the share of the ten nearest among the first proposals, one of them, two, and so on."""
    found = np.zeros((len(queries), index.settings.n_candidates))
    for one, query, wanted in zip(found, queries, tenth, strict=True):
        scores = task.vectors.scores(query, task.rows.first_rows(index.positions(query)))
        one[: len(scores)] = scores >= wanted
    recalls: NDArray[np.float64] = np.minimum(found.cumsum(axis=1), _NEIGHBOURS).mean(axis=0) / _NEIGHBOURS
    return recalls


def _p50_ms(index: ApproximateIndex, task: _Task, queries: Vectors) -> float:
    """On one thread, as a request has it; what else the machine does meanwhile does not count."""
    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    times = []
    try:
        for query in queries:
            started = time.thread_time()
            task.vectors.scores(query, task.rows.first_rows(index.positions(query)))
            times.append(1000 * (time.thread_time() - started))
    finally:
        faiss.omp_set_num_threads(threads)
    return float(np.median(times))


def first_copies(vectors: StoredVectors) -> NDArray[np.int64]:
    """`(n_rows,)` int64: for each row the first one with the very same bits."""
    seen: dict[bytes, int] = {}
    first = np.empty(vectors.n_rows, dtype=np.int64)
    for start, rows in vectors.batches():
        for row, values in enumerate(rows, start):
            first[row] = seen.setdefault(hashlib.blake2b(values.tobytes(), digest_size=16).digest(), row)
    return first
