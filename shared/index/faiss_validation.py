"""Validation of an approximate index before it is searched, since FAISS follows the numbers in it unchecked.

1. Its parts are those of an empty index of its kind: classes, dimensions, lengths of codes.
2. Its arrays have the lengths that belong to its number of vectors, and hold finite values.
3. All references, the links of a graph and the ids in a list, are within range.
"""

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from shared.errors import SnapshotError
from shared.index.index_kind import IndexKind

# The fields that a search reads of an index, of its scalar quantizer and of its product quantizer.
_INDEX_FIELDS = ("d", "metric_type", "code_size", "nlist", "by_residual", "bbs", "M", "M2", "ksub", "nbits", "implem")
_QUANTIZER_FIELDS = {"sq": ("qtype", "d", "code_size", "bits"), "pq": ("d", "M", "nbits", "dsub", "ksub", "code_size")}


def validate_approximate(index: Any, kind: IndexKind, dim: int) -> None:
    """Reject an index whose search could read memory out of bounds.

    Args:
        index: as `faiss.read_index` returns it.
        kind: the expected kind.
        dim: of the stored vectors.

    Raises:
        SnapshotError: the index is damaged, or of another kind.
    """
    _require(int(index.d) == dim, f"it takes {index.d} dimensions; expected {dim}")
    _require(index.is_trained, "it is not trained")
    searched = _behind_projection(index, kind)
    empty: Any = kind.untrained()
    _require_same(searched, empty, _INDEX_FIELDS)
    if kind.is_graph:
        _validate_graph(searched, empty)
    else:
        _validate_lists(searched, empty)


def _behind_projection(index: Any, kind: IndexKind) -> Any:
    if not kind.is_projected:
        return index
    chain: Any = getattr(index, "chain", None)  # FAISS's types name another class
    _require(isinstance(index, faiss.IndexPreTransform) and chain.size() == 1, "it has no linear projection")
    linear: Any = faiss.downcast_VectorTransform(chain.at(0))
    searched: Any = faiss.downcast_index(index.index)
    fits = isinstance(linear, faiss.LinearTransform) and (linear.d_in, linear.d_out) == (index.d, searched.d)
    _require(fits and not linear.have_bias, "its projection has other dimensions, or a bias")
    values = _array(linear.A)
    _require(
        len(values) == linear.d_in * linear.d_out and _is_finite(values),
        "the matrix of its projection has another size, or values that are not finite",
    )
    _require(searched.ntotal == index.ntotal, "its projection has another number of vectors")
    return searched


def _validate_graph(index: Any, empty: Any) -> None:
    graph, n = index.hnsw, int(index.ntotal)
    steps = _array(graph.cum_nneighbor_per_level).astype(np.int64)
    levels, offsets = _array(graph.levels).astype(np.int64), _array(graph.offsets).astype(np.int64)
    links = _array(graph.neighbors)
    _require(
        bool(np.array_equal(steps, _array(empty.hnsw.cum_nneighbor_per_level))),
        "its levels have other numbers of links",
    )
    _require(len(levels) == n > 0 and _is_within(levels, 1, len(steps)), "the levels of its graph are out of range")
    fits = len(offsets) == n + 1 and offsets[0] == 0 and offsets[-1] == len(links)
    _require(fits and bool((np.diff(offsets) == steps[levels]).all()), "the offsets of its links are wrong")
    _require(_is_within(links, -1, n), f"its graph has links outside of {n} vectors")
    entry = int(graph.entry_point)
    _require(
        0 <= entry < n and graph.max_level + 1 == levels[entry] == levels.max(),
        "the entry point of its graph is not on the top level",
    )
    for level in range(1, int(levels.max())):
        sources = np.flatnonzero(levels > level)
        targets = links[offsets[sources][:, np.newaxis] + np.arange(steps[level], steps[level + 1])]
        _require(bool((levels[targets[targets >= 0]] > level).all()), f"its graph has links that leave level {level}")
    storage: Any = faiss.downcast_index(index.storage)
    _require_same(storage, faiss.downcast_index(empty.storage), _INDEX_FIELDS)
    fits = storage.ntotal == n and storage.is_trained and storage.codes.size() == n * int(storage.code_size)
    _require(fits, f"its graph has no codes for {n} vectors")


def _validate_lists(index: Any, empty: Any) -> None:
    centroids: Any = faiss.downcast_index(index.quantizer)
    fits = isinstance(centroids, faiss.IndexFlat) and centroids.ntotal == index.nlist and centroids.d == index.d
    _require(fits and centroids.metric_type == index.metric_type, "its lists have another number of centroids")
    _require(_is_finite(_array(centroids.codes).view(np.float32)), "its centroids are not finite")
    lists: Any = faiss.downcast_InvertedLists(index.invlists)
    empty_lists: Any = faiss.downcast_InvertedLists(empty.invlists)
    names = ("nlist", "code_size", "n_per_block", "block_size")
    _require_same(lists, empty_lists, names)
    n_ids = 0
    for number in range(int(lists.nlist)):
        size = int(lists.list_size(number))
        if size:
            ids = faiss.rev_swig_ptr(lists.get_ids(number), size)
            _require(
                _is_within(ids, 0, int(index.ntotal)), f"its list {number} has ids outside of {index.ntotal} vectors"
            )
        n_ids += size
    _require(n_ids == index.ntotal, f"its lists have {n_ids} vectors; expected {index.ntotal}")


def _require_same(part: Any, empty: Any, names: tuple[str, ...]) -> None:
    """Require the class and the fields of an empty index of the kind, and finite codebooks."""
    _require(type(part) is type(empty), f"it has a {type(part).__name__}; expected {type(empty).__name__}")
    _require_same_fields(part, empty, "", tuple(name for name in names if hasattr(empty, name)))
    for quantizer, fields in _QUANTIZER_FIELDS.items():
        if hasattr(empty, quantizer):
            codes = getattr(part, quantizer)
            _require_same_fields(codes, getattr(empty, quantizer), f"{quantizer}.", fields)
            learned = _array(codes.trained if quantizer == "sq" else codes.centroids)
            fits = len(learned) == _n_learned(quantizer, codes) and _is_finite(learned)
            _require(fits, f"the codebook of its {quantizer} has another size, or values that are not finite")


def _require_same_fields(part: Any, empty: Any, prefix: str, names: tuple[str, ...]) -> None:
    for name in names:
        value, expected = getattr(part, name), getattr(empty, name)
        _require(value == expected, f"its {prefix}{name} is {value}; expected {expected}")


def _n_learned(quantizer: str, codes: Any) -> int:
    """The size of a trained quantizer's codebook."""
    if quantizer == "pq":
        return int(codes.d * codes.ksub)
    return 2 * int(codes.d) if codes.qtype == faiss.ScalarQuantizer.QT_8bit else 0


def _array(vector: Any) -> NDArray[Any]:
    """A view of one of FAISS's vectors; it lasts as long as the index."""
    size = int(vector.size())
    values: NDArray[Any] = faiss.rev_swig_ptr(vector.data(), size) if size else np.empty(0, dtype=np.float32)
    return values


def _is_within(values: NDArray[Any], least: int, end: int) -> bool:
    return len(values) == 0 or bool(values.min() >= least and values.max() < end)


def _is_finite(values: NDArray[Any]) -> bool:
    return len(values) == 0 or bool(np.isfinite(values.min()) and np.isfinite(values.max()))


def _require(holds: bool, fault: str) -> None:
    if not holds:
        raise SnapshotError(f"the approximate index is damaged: {fault}")
