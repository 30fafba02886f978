"""The kinds of index of a partition: exact, or approximate of one of a few kinds.

A kind is spelled as FAISS's factory spells it, `HNSW16,SQfp16` or `IVF512,PQ320x4fs`, and may be preceded by `P128`: a
linear projection to 128 dimensions (see `fit_projection`), whose codes are a tenth as long.
"""

import re
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np

from shared.vectors import Vectors

EXACT = "exact"
_LINKS = 16
_EF_CONSTRUCTION = 200
_KIND = re.compile(r"(?:P(?P<projected>\d+),)?(?P<index>(?:HNSW|IVF)(?P<size>\d+),(?P<codes>\w+))")
_BYTES_PER_DIMENSION = {"Flat": 4.0, "SQfp16": 2.0, "SQ8": 1.0}
_ID_BYTES = 8
# The links of the lowest layer, twice as many as in the layers above; the vector's layer; and where its links begin.
_GRAPH_BYTES = 4 * 2 * _LINKS + 4 + 8


@dataclass(frozen=True)
class IndexKind:
    """A kind of approximate index over rows of `dim` dimensions."""

    name: str
    dim: int

    @property
    def is_graph(self) -> bool:
        """True for an HNSW graph, False for an inverted file."""
        return "HNSW" in self.name

    @property
    def is_projected(self) -> bool:
        """True if the index holds projected vectors, of fewer dimensions."""
        return self._parts()["projected"] is not None

    @property
    def bytes_per_vector(self) -> float:
        """Memory of the index per vector, in addition to the stored vector itself."""
        part = self._parts()
        dim = int(part["projected"] or self.dim)
        code = part["codes"]
        if pq := re.fullmatch(r"PQ(\d+)x4fs", code):
            return int(pq[1]) / 2 + _ID_BYTES
        return _BYTES_PER_DIMENSION[code] * dim + (_GRAPH_BYTES if self.is_graph else _ID_BYTES)

    def trained(self, sample: Vectors) -> faiss.Index:
        """A trained index of this kind without rows.

        Args:
            sample: `(n, dim)` float32, unit rows to train on.
        """
        index = self.untrained()
        if self.is_projected:
            index = faiss.IndexPreTransform(fit_projection(sample, int(index.d)), index)
        index.train(sample)
        return index

    def untrained(self) -> faiss.Index:
        """An untrained index of this kind, without its projection.

        Raises:
            ValueError: the kind is unknown.
        """
        part = self._parts()
        index = faiss.index_factory(int(part["projected"] or self.dim), part["index"], faiss.METRIC_INNER_PRODUCT)
        if self.is_graph:
            graph: Any = index  # FAISS's types don't know what the factory returns
            graph.hnsw.efConstruction = _EF_CONSTRUCTION
        return index

    def faiss_parameters(self, search_parameter: int) -> Any:
        """FAISS's search parameters: `efSearch` of a graph, `nprobe` of an inverted file.

        They are passed to the index behind the projection. Nothing is ever set on the index, which threads share
        (faiss#2204).
        """
        name, field = ("HNSW", "efSearch") if self.is_graph else ("IVF", "nprobe")
        return getattr(faiss, f"SearchParameters{name}")(**{field: search_parameter})  # FAISS's types lack the fields

    def _parts(self) -> dict[str, str]:
        match = _KIND.fullmatch(self.name)
        if match is None:
            raise ValueError(f"{self.name!r} is not a kind of index; expected a name such as 'HNSW16,SQfp16'")
        return match.groupdict()


def split_projection(index: faiss.Index) -> tuple[Vectors | None, faiss.Index]:
    """The projection of an index and the index behind it; None and the index itself if it has none.

    Returns:
        The projection is a view of the index's own `(dim, d)` float32 matrix: it lasts as long as the index.
    """
    if not isinstance(index, faiss.IndexPreTransform):
        return None, index
    chain: Any = index.chain  # FAISS's types name another class
    linear: Any = faiss.downcast_VectorTransform(chain.at(0))
    values = faiss.rev_swig_ptr(linear.A.data(), linear.A.size())
    return values.reshape(linear.d_out, linear.d_in), faiss.downcast_index(index.index)


def fit_projection(sample: Vectors, dim: int) -> faiss.LinearTransform:
    """Fit the linear map to `dim` dimensions that best preserves inner products.

    It uses the eigenvectors of the second moments around zero, not around the mean as PCA does: the inner product of
    two projected vectors then lacks only the product of their residuals, which is small and near zero on average.

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
