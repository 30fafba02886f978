"""Choose how a partition is searched, by measuring: the cheapest kind of index that finds what exact search finds.

1. A partition that is cheap to compare as a whole has no index.
2. Rows that are the same share a place; places are in an order drawn by chance, and the last are held out as queries.
3. Of the candidate kinds, the cheapest first, each is built of a sample and tuned there to the recall that is wanted.
4. One that reaches it is built of all rows but the held-out ones and tuned again; where it misses, the next has a turn.
5. The held-out rows are added.
"""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import faiss
import numpy as np
from numpy.typing import NDArray

from indexer.index_policy import IndexPolicy
from shared.approximate_index import ApproximateIndex, RowsOfPlaces
from shared.index_kind import IndexKind, SearchSettings
from shared.stored_vectors import StoredVectors
from shared.vectors import Vectors

# More than is promised, by what a sample of queries may be wrong.
_WANTED_RECALL = 0.993
_NEIGHBOURS = 10
_QUERIES = 300
_TRIAL_ROWS = 5_000
_TRAINED_ON = 20_000
_TRAINED_ON_A_LIST = 40
_MOST_DEPTH = 512
_GRAPH_EFFORTS = (12, 16, 20, 24, 32, 40, 48, 56, 64, 80, 96, 128, 192, 256, 384, 512)
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
    rows = RowsOfPlaces.of(first_copies(vectors), _SEED)
    if policy.is_exact(rows.n_places, vectors.dim):
        return None  # hardly anything but copies
    n_queries = min(_QUERIES, rows.n_places // 10)
    task = _Task(vectors, rows, rows.n_places - n_queries)
    names = policy.candidates(vectors.dim, rows.n_places)
    for name in _likely_first(names, task):
        tuned = _tuned(task.built(name), task)
        if tuned is not None:
            task.finish(tuned.index.index)
            return tuned
    return None


@dataclass(frozen=True)
class _Task:
    """The first `n_built` places are indexed, the others ask.

    Attributes:
        vectors: of the partition.
        rows: in places by chance.
        n_built: how many places.
    """

    vectors: StoredVectors
    rows: RowsOfPlaces
    n_built: int

    def sample(self, count: int) -> "_Task":
        """The first places alone, with the same queries."""
        return _Task(self.vectors, self.rows, min(count, self.n_built))

    def of_places(self, places: NDArray[np.int64]) -> Vectors:
        return self.vectors.embeddings(self.rows.firsts(places))

    def queries(self) -> Vectors:
        last = self.rows.n_places
        return self.of_places(np.arange(last - min(_QUERIES, last // 10), last))

    def built(self, name: str) -> ApproximateIndex:
        """An index of the first places, not yet tuned."""
        kind = IndexKind(name, self.vectors.dim)
        index = kind.empty(self.of_places(np.arange(min(self.n_built, _training_rows(name)))))
        _add(index, self, 0, self.n_built)
        return ApproximateIndex(index, self.rows, SearchSettings(name, 1, min(_MOST_DEPTH, self.n_built)))

    def finish(self, index: faiss.Index) -> None:
        """Add the places that asked."""
        _add(index, self, self.n_built, self.rows.n_places)

    def tenth_scores(self, queries: Vectors) -> NDArray[np.float32]:
        """`(n_queries,)`: the score of each query's tenth nearest place."""
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


def _likely_first(names: Sequence[str], task: _Task) -> Iterator[str]:
    """Those that reach the recall on a sample, then the others; none is tried there before its turn comes.

    Where a sample would hardly be smaller than the whole, all have their turn as they come.

    Args:
        names: of kinds, the cheapest first.
        task: the partition.
    """
    trial = task.sample(_TRIAL_ROWS)
    is_spared = len(names) == 1 or task.n_built <= 2 * trial.n_built
    missed = []
    for name in names:
        if is_spared or _tuned(trial.built(name), trial) is not None:
            yield name
        else:
            missed.append(name)
    yield from missed


def _tuned(index: ApproximateIndex, task: _Task) -> Tuned | None:
    """The least effort, then the fewest proposals, that reach the recall; None if none does."""
    queries = task.queries()
    tenth = task.tenth_scores(queries) - _TIE
    is_graph = IndexKind(index.settings.kind, task.vectors.dim).is_graph
    for effort in _GRAPH_EFFORTS if is_graph else _LIST_EFFORTS:
        most = min(effort if is_graph else _MOST_DEPTH, task.n_built)
        recalls = _recall_by_depth(index.told(effort, most), task, queries, tenth)
        if recalls[-1] >= _WANTED_RECALL:
            depth = max(_NEIGHBOURS, 1 + int(np.argmax(recalls >= _WANTED_RECALL)))
            told = index.told(effort, depth)
            return Tuned(told, float(recalls[depth - 1]), _p50_ms(told, task, queries))
    return None


def _recall_by_depth(
    index: ApproximateIndex, task: _Task, queries: Vectors, tenth: NDArray[np.float32]
) -> NDArray[np.float64]:
    """`(depth,)`: the share of the ten nearest among the first proposals, one of them, two, and so on."""
    found = np.zeros((len(queries), index.settings.depth))
    for one, query, wanted in zip(found, queries, tenth, strict=True):
        scores = task.vectors.scores(query, task.rows.firsts(index.places(query)))
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
            task.vectors.scores(query, task.rows.firsts(index.places(query)))
            times.append(1000 * (time.thread_time() - started))
    finally:
        faiss.omp_set_num_threads(threads)
    return float(np.median(times))


def first_copies(vectors: StoredVectors) -> NDArray[np.int64]:
    """`(n_rows,)` int64: for each row the first one with the very same bits."""
    seen: dict[bytes, int] = {}
    first = np.empty(vectors.n_rows, dtype=np.int64)
    for start, rows in vectors.pieces():
        for row, values in enumerate(rows, start):
            first[row] = seen.setdefault(hashlib.blake2b(values.tobytes(), digest_size=16).digest(), row)
    return first
