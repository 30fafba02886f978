"""A partition's vectors in a mapped file: exact search, exact scores of some rows, and the vectors themselves.

There are two encodings: `float32`, 4 bytes per dimension; and `int8`, one byte per dimension, each with its own range
of values, whose scores are within 0.005 of the exact ones.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from shared.errors import SnapshotError
from shared.files.regular_file import open_regular, regular_file
from shared.index.inner_products import inner_products, inner_products_at
from shared.index.vector_file import validate_vector_file, write_index
from shared.vectors import Vectors

ENCODINGS = ("float32", "int8")
# FAISS multiplies matrices from 20 queries on, which rounds differently: scores would depend on the batch.
_QUERY_BATCH = 16
_FINITE_CHECK_ROWS = 16_384


class StoredVectors:
    """`(n, dim)` unit rows in an `IndexFlatIP`, or in an `IndexScalarQuantizer` of 8 bits."""

    def __init__(self, index: faiss.Index) -> None:
        """Wrap an index in memory, or mapped."""
        self.index = index
        self.n_rows, self.dim = int(index.ntotal), int(index.d)
        self._is_int8 = isinstance(index, faiss.IndexScalarQuantizer)
        self._float32_rows = None if self._is_int8 or not isinstance(index, faiss.IndexFlat) else index.get_xb()

    @classmethod
    def from_batches(cls, batches: Iterator[Vectors]) -> "StoredVectors":
        """Store rows in memory; `batches` are `(n, dim)` float32 each, at least one."""
        first = next(batches)
        index = faiss.IndexFlatIP(first.shape[1])
        index.add(first)
        for batch in batches:
            index.add(batch)
        return cls(index)

    @classmethod
    def open(cls, path: Path) -> "StoredVectors":
        """Map a file: it is read on demand, and processes share one copy.

        Raises:
            SnapshotError: it is not a valid file of vectors, or not a regular file of the snapshot.
        """
        inside = path.parent.parent.parent
        with open_regular(path, inside) as file:
            validate_vector_file(file, path)
        return cls(faiss.read_index(str(regular_file(path, inside)), faiss.IO_FLAG_MMAP_IFC))

    def require_finite(self) -> None:
        """Check that all values are finite; this reads every row.

        Raises:
            SnapshotError: they are not.
        """
        for _, rows in self.batches(_FINITE_CHECK_ROWS):
            if not (np.isfinite(rows.min()) and np.isfinite(rows.max())):
                raise SnapshotError("the vectors have values that are not finite")

    @property
    def encoding(self) -> str:
        """One of `ENCODINGS`."""
        return "int8" if self._is_int8 else "float32"

    def write(self, path: Path) -> None:
        """Write the vectors to a file.

        Raises:
            OSError: the disk is full, or the directory is not writable.
        """
        write_index(self.index, path)

    def to_int8(self) -> "StoredVectors":
        """Encode the same rows as `int8`, in memory."""
        index = faiss.IndexScalarQuantizer(self.dim, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
        # The ranges of all rows, not of a sample: values outside them would be clipped.
        ranges = [np.array([rows.min(axis=0), rows.max(axis=0)]) for _, rows in self.batches()]
        index.train(np.concatenate(ranges))
        for _, rows in self.batches():
            index.add(rows)
        return StoredVectors(index)

    def batches(self, size: int = 4096) -> Iterator[tuple[int, Vectors]]:
        """All rows in batches: the index of the first row, and `(n, dim)` float32."""
        for start in range(0, self.n_rows, size):
            yield start, self.embeddings(np.arange(start, min(start + size, self.n_rows)))

    def embeddings(self, rows: NDArray[np.int64]) -> Vectors:
        """`(len(rows), dim)` float32; decoded from `int8` they are only nearly of length 1."""
        embeddings: Vectors = self.index.reconstruct_batch(rows)
        return embeddings

    def scores(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The cosine of `query`, `(dim,)` float32, to each of `rows`, `(n,)` int64: `(n,)` float32."""
        if self._float32_rows is not None:
            return inner_products_at(self._float32_rows, query[np.newaxis], rows[np.newaxis]).ravel()
        return inner_products(query[np.newaxis], self.embeddings(rows), np.arange(len(rows))[np.newaxis]).ravel()

    def search(
        self, queries: Vectors, count: int, rows: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Compare each query with every row, or with `rows` only.

        Returns:
            Scores and rows, `(n_queries, count)` each, best first.
        """
        parameters = None
        if rows is not None:
            parameters = faiss.SearchParameters()
            selector = self._selector(rows)
            parameters.sel = selector
        results = [
            self.index.search(queries[start : start + _QUERY_BATCH], count, params=parameters)
            for start in range(0, len(queries), _QUERY_BATCH)
        ]
        if not results:
            return np.empty((0, count), dtype=np.float32), np.empty((0, count), dtype=np.int64)
        return np.concatenate([scores for scores, _ in results]), np.concatenate([rows for _, rows in results])

    def _selector(self, rows: NDArray[np.int64]) -> faiss.IDSelector:
        if not self._is_int8:
            # FAISS visits only the rows of an array: the fastest of its selectors here.
            return faiss.IDSelectorArray(rows)
        bits = np.zeros(-(-self.n_rows // 8) * 8, dtype=bool)
        bits[rows] = True
        bitmap: Any = faiss.IDSelectorBitmap  # FAISS's types have another signature
        selector: faiss.IDSelector = bitmap(np.packbits(bits, bitorder="little"))
        return selector


def require_inner_product(index: faiss.Index, category: str) -> None:
    """Check the metric of an index.

    Raises:
        SnapshotError: it is not the inner product.
    """
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise SnapshotError(
            f"the partition {category!r} has the FAISS metric {index.metric_type};"
            f" expected {faiss.METRIC_INNER_PRODUCT}, inner product"
        )
