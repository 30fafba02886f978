"""Check an approximate index before it is searched: FAISS follows the numbers in it without looking.

1. Its parts are those of an empty index of its kind: classes, dimensions, lengths of codes.
2. Its arrays have the lengths that belong to its number of vectors, and hold finite values.
3. Whatever points somewhere, a link of a graph, an id in a list, the place of a row, points inside.
"""

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from shared.errors import SnapshotError
from shared.index.index_kind import IndexKind

# What a search reads of an index, of its scalar quantizer and of its product quantizer.
_OF_INDEX = ("d", "metric_type", "code_size", "nlist", "by_residual", "bbs", "M", "M2", "ksub", "nbits", "implem")
_OF_CODES = {"sq": ("qtype", "d", "code_size", "bits"), "pq": ("d", "M", "nbits", "dsub", "ksub", "code_size")}


def check_approximate(index: Any, kind: IndexKind, dim: int) -> None:
    """Refuse an index that could lead a search astray.

    Args:
        index: as `faiss.read_index` gives it.
        kind: what it has to be.
        dim: of the vectors that it was made of.

    Raises:
        SnapshotError: it says what is wrong.
    """
    _require(int(index.d) == dim, f"it takes {index.d} dimensions; expected {dim}")
    _require(index.is_trained, "it is not trained")
    searched = _behind_projection(index, kind)
    empty: Any = kind.untrained()
    _require_same(searched, empty, _OF_INDEX)
    if kind.is_graph:
        _check_graph(searched, empty)
    else:
        _check_lists(searched, empty)


def check_places(starts: NDArray[np.integer], rows: NDArray[np.integer], n_rows: int) -> None:
    """Refuse places of rows that are no division of all rows.

    Args:
        starts: `(n_places + 1,)`, where each place's rows begin in `rows`.
        rows: `(n_rows,)`, each row once.
        n_rows: how many there are.

    Raises:
        SnapshotError: they are not.
    """
    fitting = len(rows) == n_rows and len(starts) > 0 and starts[0] == 0 and starts[-1] == n_rows
    _require(fitting and bool((np.diff(starts) > 0).all()), f"its places are no division of {n_rows} rows")
    _require(_is_within(rows, 0, n_rows), f"its places have rows beyond {n_rows}")
    seen = np.zeros(n_rows, dtype=np.bool_)
    seen[rows] = True
    _require(bool(seen.all()), "its places have a row twice")


def _behind_projection(index: Any, kind: IndexKind) -> Any:
    if not kind.is_projected:
        return index
    chain: Any = getattr(index, "chain", None)  # its types tell another class
    _require(isinstance(index, faiss.IndexPreTransform) and chain.size() == 1, "it has no projection")
    linear: Any = faiss.downcast_VectorTransform(chain.at(0))
    searched: Any = faiss.downcast_index(index.index)
    fitting = isinstance(linear, faiss.LinearTransform) and (linear.d_in, linear.d_out) == (index.d, searched.d)
    _require(fitting and not linear.have_bias, "its projection does not fit")
    values = _array(linear.A)
    _require(len(values) == linear.d_in * linear.d_out and _is_finite(values), "its projection has no such matrix")
    _require(searched.ntotal == index.ntotal, "its projection counts other vectors")
    return searched


def _check_graph(index: Any, empty: Any) -> None:
    graph, n = index.hnsw, int(index.ntotal)
    steps = _array(graph.cum_nneighbor_per_level).astype(np.int64)
    levels, offsets = _array(graph.levels).astype(np.int64), _array(graph.offsets).astype(np.int64)
    links = _array(graph.neighbors)
    _require(bool(np.array_equal(steps, _array(empty.hnsw.cum_nneighbor_per_level))), "its levels have other lengths")
    _require(len(levels) == n > 0 and _is_within(levels, 1, len(steps)), "its graph has other levels")
    fitting = len(offsets) == n + 1 and offsets[0] == 0 and offsets[-1] == len(links)
    _require(fitting and bool((np.diff(offsets) == steps[levels]).all()), "its links begin elsewhere")
    _require(_is_within(links, -1, n), f"its graph has links beyond {n} vectors")
    entry = int(graph.entry_point)
    _require(0 <= entry < n and graph.max_level + 1 == levels[entry] == levels.max(), "its graph has no such entry")
    for level in range(1, int(levels.max())):
        sources = np.flatnonzero(levels > level)
        at = offsets[sources][:, np.newaxis] + np.arange(steps[level], steps[level + 1])
        targets = links[at]
        _require(bool((levels[targets[targets >= 0]] > level).all()), f"its graph has links out of level {level}")
    storage: Any = faiss.downcast_index(index.storage)
    _require_same(storage, faiss.downcast_index(empty.storage), _OF_INDEX)
    fitting = storage.ntotal == n and storage.is_trained and storage.codes.size() == n * int(storage.code_size)
    _require(fitting, f"its graph has no codes of {n} vectors")


def _check_lists(index: Any, empty: Any) -> None:
    centres: Any = faiss.downcast_index(index.quantizer)
    fitting = isinstance(centres, faiss.IndexFlat) and centres.ntotal == index.nlist and centres.d == index.d
    _require(fitting and centres.metric_type == index.metric_type, "its lists have no such centres")
    _require(_is_finite(_array(centres.codes).view(np.float32)), "its centres are not finite")
    lists: Any = faiss.downcast_InvertedLists(index.invlists)
    of_empty: Any = faiss.downcast_InvertedLists(empty.invlists)
    names = ("nlist", "code_size", "n_per_block", "block_size")
    _require_same(lists, of_empty, names)
    n_found = 0
    for place in range(int(lists.nlist)):
        size = int(lists.list_size(place))
        if size:
            ids = faiss.rev_swig_ptr(lists.get_ids(place), size)
            _require(_is_within(ids, 0, int(index.ntotal)), f"its list {place} has ids beyond {index.ntotal} vectors")
        n_found += size
    _require(n_found == index.ntotal, f"its lists have {n_found} vectors; it says {index.ntotal}")


def _require_same(found: Any, empty: Any, names: tuple[str, ...]) -> None:
    """Refuse another class, or other numbers than an empty index of the kind has; and codes that are not finite."""
    _require(type(found) is type(empty), f"it has a {type(found).__name__}; expected {type(empty).__name__}")
    for name in names:
        if hasattr(empty, name):
            values = getattr(found, name), getattr(empty, name)
            _require(values[0] == values[1], f"its {name} is {values[0]}; expected {values[1]}")
    for part, of_part in _OF_CODES.items():
        if hasattr(empty, part):
            codes = getattr(found, part)
            for name in of_part:
                values = getattr(codes, name), getattr(getattr(empty, part), name)
                _require(values[0] == values[1], f"its {part}.{name} is {values[0]}; expected {values[1]}")
            learned = _array(codes.trained if part == "sq" else codes.centroids)
            _require(len(learned) == _n_learned(part, codes) and _is_finite(learned), f"its {part} was not learned")


def _n_learned(part: str, codes: Any) -> int:
    """How many numbers training gives a quantizer."""
    if part == "pq":
        return int(codes.d * codes.ksub)
    return 2 * int(codes.d) if codes.qtype == faiss.ScalarQuantizer.QT_8bit else 0


def _array(vector: Any) -> NDArray[Any]:
    """A view of one of FAISS's vectors; it lasts as long as the index."""
    size = int(vector.size())
    found: NDArray[Any] = faiss.rev_swig_ptr(vector.data(), size) if size else np.empty(0, dtype=np.float32)
    return found


def _is_within(values: NDArray[Any], least: int, end: int) -> bool:
    return len(values) == 0 or bool(values.min() >= least and values.max() < end)


def _is_finite(values: NDArray[Any]) -> bool:
    return len(values) == 0 or bool(np.isfinite(values.min()) and np.isfinite(values.max()))


def _require(holds: bool, fault: str) -> None:
    if not holds:
        raise SnapshotError(f"the approximate index is not sound: {fault}")
