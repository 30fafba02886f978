"""How a partition is searched: exactly, or by an approximate index of one of a few kinds.

A kind is spelled as FAISS's factory spells it, `HNSW16,SQfp16` or `IVF512,PQ320x4fs`. In front may stand `P128`, a
linear projection to 128 dimensions (`projection`), whose codes are a tenth as long.
"""

import re
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np

from shared.vectors import Vectors

EXACT = "exact"
_LINKS = 16
_CONSTRUCTION = 200
_KIND = re.compile(r"(?:P(?P<projected>\d+),)?(?P<index>(?:HNSW|IVF)(?P<size>\d+),(?P<codes>\w+))")
_BYTES_A_DIMENSION = {"Flat": 4.0, "SQfp16": 2.0, "SQ8": 1.0}
_ID_BYTES = 8
# The links of the lowest layer, twice as many as above it; and a vector's layer, and where its links begin.
_GRAPH_BYTES = 4 * 2 * _LINKS + 4 + 8


@dataclass(frozen=True)
class SearchSettings:
    """What a search of an approximate index is told.

    Attributes:
        kind: of the index, as spelled above.
        effort: `efSearch` of a graph, `nprobe` of an inverted file.
        depth: how many rows it proposes, for the ten nearest, which are then compared exactly.
    """

    kind: str
    effort: int
    depth: int


@dataclass(frozen=True)
class IndexKind:
    """A kind of approximate index over rows of `dim` dimensions."""

    name: str
    dim: int

    @property
    def is_graph(self) -> bool:
        """An HNSW graph, else an inverted file."""
        return "HNSW" in self.name

    @property
    def is_projected(self) -> bool:
        """Whether it holds rows of fewer dimensions."""
        return self._parts()["projected"] is not None

    @property
    def bytes_per_vector(self) -> float:
        """What a vector takes in the index's memory, besides the vector itself."""
        part = self._parts()
        dim = int(part["projected"] or self.dim)
        code = part["codes"]
        if pq := re.fullmatch(r"PQ(\d+)x4fs", code):
            return int(pq[1]) / 2 + _ID_BYTES
        return _BYTES_A_DIMENSION[code] * dim + (_GRAPH_BYTES if self.is_graph else _ID_BYTES)

    def empty(self, sample: Vectors) -> faiss.Index:
        """An index of this kind that is trained and has no rows.

        Args:
            sample: `(n, dim)` float32, unit rows to train on.
        """
        index = self.untrained()
        if self.is_projected:
            index = faiss.IndexPreTransform(projection(sample, int(index.d)), index)
        index.train(sample)
        return index

    def untrained(self) -> faiss.Index:
        """An index of this kind without rows and without a projection in front.

        Raises:
            ValueError: there is no such kind.
        """
        part = self._parts()
        index = faiss.index_factory(int(part["projected"] or self.dim), part["index"], faiss.METRIC_INNER_PRODUCT)
        if self.is_graph:
            graph: Any = index  # its types don't know what the factory makes
            graph.hnsw.efConstruction = _CONSTRUCTION
        return index

    def parameters(self, effort: int) -> Any:
        """What is passed to a search of the index behind the projection.

        Nothing is ever set on the index, which many threads share (faiss#2204).
        """
        return _made("HNSW", efSearch=effort) if self.is_graph else _made("IVF", nprobe=effort)

    def _parts(self) -> dict[str, str]:
        found = _KIND.fullmatch(self.name)
        if found is None:
            raise ValueError(f"{self.name!r} is no kind of index")
        return found.groupdict()


def _made(of: str, **values: Any) -> Any:
    """Search parameters; FAISS's types don't know their fields."""
    return getattr(faiss, f"SearchParameters{of}")(**values)


def parts_of(index: faiss.Index) -> tuple[Vectors | None, faiss.Index]:
    """The projection in front of an index and the index behind it; None and the index itself where there is none.

    Returns:
        The projection is a view of the index's own `(dim, d)` float32 matrix: it lasts as long as the index.
    """
    if not isinstance(index, faiss.IndexPreTransform):
        return None, index
    chain: Any = index.chain  # its types tell another class
    linear: Any = faiss.downcast_VectorTransform(chain.at(0))
    values = faiss.rev_swig_ptr(linear.A.data(), linear.A.size())
    return values.reshape(linear.d_out, linear.d_in), faiss.downcast_index(index.index)


def projection(sample: Vectors, dim: int) -> faiss.LinearTransform:
    """The linear map to `dim` dimensions that keeps most of the inner products.

    It takes the eigenvectors of the second moments, around zero and not around the mean as PCA does: the inner product
    of two projected rows then lacks the product of what each lost, which is small and near zero on average.

    Args:
        sample: `(n, d)` float32, unit rows.
        dim: at most `d`.
    """
    _, vectors = np.linalg.eigh((sample.T @ sample).astype(np.float64))
    matrix = np.ascontiguousarray(vectors[:, ::-1][:, :dim].T, dtype=np.float32)
    linear = faiss.LinearTransform(sample.shape[1], dim, False)
    faiss.copy_array_to_vector(matrix.ravel(), linear.A)
    linear.is_trained = True
    return linear
