"""A partition's vectors in a mapped file: exact search over them, exact scores of some of them, and themselves.

Two encodings: `float32`, 4 bytes a dimension; and `int8`, one byte a dimension, each with the range of its values,
whose scores are within 0.005 of the exact ones.
"""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import faiss
import numpy as np
from numpy.typing import NDArray

from shared.errors import SnapshotError
from shared.files.regular_file import open_regular, regular_file
from shared.vectors import Vectors

ENCODINGS = ("float32", "int8")
# What FAISS's own exact search calls for each row, so scores have the same bits; its types leave it out.
_inner_products = faiss.__dict__["fvec_inner_products_by_idx"]
# FAISS multiplies matrices from 20 queries on, which rounds otherwise: a score would depend on who asks at once.
_BLOCK = 16
_FINITE_ROWS = 16_384
_COUNTED_BYTES = 16  # the kind of index, its dimensions and its rows
_TRAINED_AT = 32
_MOST_DIMENSIONS = 65_536
_MOST_ROWS = 1 << 40


class StoredVectors:
    """`(n, dim)` unit rows in an `IndexFlatIP`, or an `IndexScalarQuantizer` of 8 bits."""

    def __init__(self, index: faiss.Index) -> None:
        """Around an index in memory or mapped."""
        self.index = index
        self.n_rows, self.dim = int(index.ntotal), int(index.d)
        self._is_coded = isinstance(index, faiss.IndexScalarQuantizer)
        self._first = None if self._is_coded or not isinstance(index, faiss.IndexFlat) else index.get_xb()

    @classmethod
    def of_pieces(cls, pieces: Iterator[Vectors]) -> "StoredVectors":
        """In memory, of rows that come `(n, dim)` float32 at a time."""
        first = next(pieces)
        index = faiss.IndexFlatIP(first.shape[1])
        index.add(first)
        for piece in pieces:
            index.add(piece)
        return cls(index)

    @classmethod
    def open(cls, path: Path) -> "StoredVectors":
        """Map a file: nothing is read before it is needed, and processes share one copy.

        FAISS's reader is not hardened, and reading past the end of a mapped file ends the process. So the file has to
        begin with the bytes that FAISS writes for so many rows, and to be as long as they take.

        Raises:
            SnapshotError: it does not, or is not a regular file of the snapshot.
        """
        inside = path.parent.parent.parent
        with open_regular(path, inside) as file:
            _check_header(file, path)
        return cls(faiss.read_index(str(regular_file(path, inside)), faiss.IO_FLAG_MMAP_IFC))

    def require_finite(self) -> None:
        """Refuse values that are no numbers; this reads every row.

        Raises:
            SnapshotError: there are such.
        """
        for _, rows in self.pieces(_FINITE_ROWS):
            if not (np.isfinite(rows.min()) and np.isfinite(rows.max())):
                raise SnapshotError("the vectors have values that are not finite")

    @property
    def encoding(self) -> str:
        """One of `ENCODINGS`."""
        return "int8" if self._is_coded else "float32"

    def write(self, path: Path) -> None:
        """Write it as a file.

        Raises:
            OSError: the disk is full, or the directory can't be written.
        """
        write_index(self.index, path)

    def encoded(self) -> "StoredVectors":
        """The same rows as `int8`, in memory."""
        index = faiss.IndexScalarQuantizer(self.dim, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
        # The ranges of all rows and not of a sample: beyond them a value would be cut off.
        ranges = [np.array([rows.min(axis=0), rows.max(axis=0)]) for _, rows in self.pieces()]
        index.train(np.concatenate(ranges))
        for _, rows in self.pieces():
            index.add(rows)
        return StoredVectors(index)

    def pieces(self, size: int = 4096) -> Iterator[tuple[int, Vectors]]:
        """All rows, some at a time: the number of the first, and `(n, dim)` float32."""
        for start in range(0, self.n_rows, size):
            yield start, self.embeddings(np.arange(start, min(start + size, self.n_rows)))

    def embeddings(self, rows: NDArray[np.int64]) -> Vectors:
        """`(len(rows), dim)` float32; of `int8` what the codes stand for, nearly of length 1."""
        found: Vectors = self.index.reconstruct_batch(rows)
        return found

    def scores(self, query: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """The cosine of `query`, `(dim,)` float32, to each of `rows`, `(n,)` int64: `(n,)` float32."""
        if self._first is not None:
            return _products_at(self._first, query[np.newaxis], rows[np.newaxis]).ravel()
        return inner_products(query[np.newaxis], self.embeddings(rows), np.arange(len(rows))[np.newaxis]).ravel()

    def search(
        self, queries: Vectors, count: int, rows: NDArray[np.int64] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Compare each query with every row, or with `rows` alone.

        Returns:
            Scores and rows, `(n_queries, count)` each, best first.
        """
        parameters = None
        if rows is not None:
            parameters = faiss.SearchParameters()
            selector = self._selector(rows)
            parameters.sel = selector
        found = [
            self.index.search(queries[start : start + _BLOCK], count, params=parameters)
            for start in range(0, len(queries), _BLOCK)
        ]
        if not found:
            return np.empty((0, count), dtype=np.float32), np.empty((0, count), dtype=np.int64)
        return np.concatenate([scores for scores, _ in found]), np.concatenate([places for _, places in found])

    def _selector(self, rows: NDArray[np.int64]) -> faiss.IDSelector:
        if not self._is_coded:
            # FAISS goes through an array of rows one by one, and through nothing else: of its selectors the fastest.
            return faiss.IDSelectorArray(rows)
        bits = np.zeros(-(-self.n_rows // 8) * 8, dtype=bool)
        bits[rows] = True
        bitmap: Any = faiss.IDSelectorBitmap  # its types tell another signature
        selector: faiss.IDSelector = bitmap(np.packbits(bits, bitorder="little"))
        return selector


def _check_header(file: BinaryIO, path: Path) -> None:
    """Compare a file's first bytes, and its size, with what FAISS writes for as many rows of as many dimensions."""
    head = file.read(_COUNTED_BYTES)
    dim, n_rows = int.from_bytes(head[4:8], "little"), int.from_bytes(head[8:16], "little")
    if len(head) < _COUNTED_BYTES or not 1 <= dim <= _MOST_DIMENSIONS or n_rows > _MOST_ROWS:
        raise SnapshotError(f"{path} is no index of vectors: it says {n_rows} rows of {dim} dimensions")
    file.seek(0)
    if head[:4] == b"IxSQ":
        expected, found, value_bytes = _coded_header(file, dim, n_rows)
    else:
        expected = _flat_header(dim, n_rows)
        found, value_bytes = file.read(len(expected)), 4
    if found != expected:
        raise SnapshotError(f"{path} does not begin as an index of {n_rows} vectors of {dim} dimensions")
    size, wanted = file.seek(0, 2), len(expected) + n_rows * dim * value_bytes
    if size != wanted:
        raise SnapshotError(f"{path} has {size} bytes; {n_rows} vectors of {dim} dimensions take {wanted}")


def _flat_header(dim: int, n_rows: int) -> bytes:
    """What FAISS writes of an empty `IndexFlatIP`, with the two counts put in."""
    header = bytearray(faiss.serialize_index(faiss.IndexFlatIP(dim)).tobytes())
    header[8:16] = n_rows.to_bytes(8, "little")
    header[-8:] = (n_rows * dim).to_bytes(8, "little")
    return bytes(header)


def _coded_header(file: BinaryIO, dim: int, n_rows: int) -> tuple[bytes, bytes, int]:
    """The same of an `IndexScalarQuantizer`, which has the ranges of the values in front of the codes.

    Returns:
        What is expected, what is found, and the bytes of a value.
    """
    kinds = faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    empty = faiss.serialize_index(faiss.IndexScalarQuantizer(dim, *kinds)).tobytes()
    front = bytearray(empty[:-16])
    front[8:16] = n_rows.to_bytes(8, "little")
    front[_TRAINED_AT] = 1
    front += (2 * dim).to_bytes(8, "little")
    found = file.read(len(front) + 8 * dim + 8)
    ranges = found[len(front) : len(front) + 8 * dim]
    if len(ranges) < 8 * dim or not np.isfinite(np.frombuffer(ranges, dtype="<f4")).all():
        ranges = b""  # is not what is expected
    return bytes(front) + ranges + (n_rows * dim).to_bytes(8, "little"), found, 1


def inner_products(queries: Vectors, rows: Vectors, places: NDArray[np.int64]) -> NDArray[np.float32]:
    """The inner product of each query with some of the rows, with the same bits as a search has them.

    Args:
        queries: `(n, dim)` float32.
        rows: `(n_rows, dim)` float32.
        places: `(n, count)` int64, which rows.

    Returns:
        `(n, count)` float32.
    """
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    return _products_at(faiss.swig_ptr(rows), queries, places)


def _products_at(first: Any, queries: Vectors, places: NDArray[np.int64]) -> NDArray[np.float32]:
    """As `inner_products`, of rows that begin at a pointer of SWIG's."""
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    places = np.ascontiguousarray(places, dtype=np.int64)
    found = np.empty(places.shape, dtype=np.float32)
    pointers = faiss.swig_ptr(found), faiss.swig_ptr(queries), first, faiss.swig_ptr(places)
    _inner_products(*pointers, queries.shape[1], *places.shape)
    return found


def write_float32(path: Path, dim: int, pieces: Iterator[Vectors]) -> int:
    """Write `float32` rows as they come, without holding them; `StoredVectors.open` reads the file.

    It is what FAISS writes of an empty `IndexFlatIP`, with the two counts put in afterwards.

    Args:
        path: the file.
        dim: of the rows.
        pieces: `(n, dim)` float32 at a time.

    Returns:
        How many rows came.

    Raises:
        OSError: the disk is full, or the directory can't be written.
    """
    n_rows = 0
    with path.open("wb") as file:
        file.write(_flat_header(dim, 0))
        for piece in pieces:
            file.write(np.ascontiguousarray(piece, dtype="<f4").data)
            n_rows += len(piece)
        file.seek(0)
        file.write(_flat_header(dim, n_rows))
    return n_rows


def write_index(index: faiss.Index, path: Path) -> None:
    """Write an index of FAISS.

    Raises:
        OSError: the disk is full, or the directory can't be written.
    """
    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:  # FAISS's own, whatever went wrong
        raise OSError(errno.EIO, f"the index can't be written: {error}", str(path)) from error


def require_inner_product(index: faiss.Index, category: str) -> None:
    """Refuse another metric.

    Raises:
        SnapshotError: it is another one.
    """
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise SnapshotError(f"the partition {category!r} has metric {index.metric_type}; wanted inner product")
