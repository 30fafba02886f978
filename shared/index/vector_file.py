"""FAISS's file format of stored vectors: written piece by piece, and validated before FAISS maps it.

FAISS's reader is not hardened, and reading past the end of a mapped file ends the process. So a file must begin with
the bytes that FAISS writes for as many rows, and have exactly the length that they need.
"""

import errno
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import faiss
import numpy as np

from shared.errors import SnapshotError
from shared.vectors import Vectors

_PREFIX_BYTES = 16  # the type of index, the dimension and the number of rows
_IS_TRAINED_OFFSET = 32
_MAX_DIM = 65_536
_MAX_ROWS = 1 << 40


def write_float32(path: Path, dim: int, batches: Iterator[Vectors]) -> int:
    """Write an `IndexFlatIP` of `float32` rows as they arrive, without holding them in memory.

    Args:
        path: the file.
        dim: length of a row.
        batches: `(n, dim)` float32 each.

    Returns:
        The number of rows.

    Raises:
        OSError: the disk is full, or the directory is not writable.
    """
    n_rows = 0
    with path.open("wb") as file:
        file.write(_flat_header(dim, 0))
        for batch in batches:
            file.write(np.ascontiguousarray(batch, dtype="<f4").data)
            n_rows += len(batch)
        file.seek(0)
        file.write(_flat_header(dim, n_rows))
    return n_rows


def write_index(index: faiss.Index, path: Path) -> None:
    """Write a FAISS index.

    Raises:
        OSError: the disk is full, or the directory is not writable.
    """
    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:  # FAISS raises it for every failure
        raise OSError(errno.EIO, f"the index can't be written: {error}", str(path)) from error


def validate_vector_file(file: BinaryIO, path: Path) -> None:
    """Compare the header and the length of a file with those of an index of as many rows.

    Args:
        file: opened, at its beginning.
        path: for messages.

    Raises:
        SnapshotError: they differ.
    """
    prefix = file.read(_PREFIX_BYTES)
    dim, n_rows = int.from_bytes(prefix[4:8], "little"), int.from_bytes(prefix[8:16], "little")
    if len(prefix) < _PREFIX_BYTES or not 1 <= dim <= _MAX_DIM or n_rows > _MAX_ROWS:
        raise SnapshotError(f"{path} is not an index of vectors: it declares {n_rows} rows of {dim} dimensions")
    file.seek(0)
    if prefix[:4] == b"IxSQ":
        expected, header, value_bytes = _int8_header(file, dim, n_rows)
    else:
        expected = _flat_header(dim, n_rows)
        header, value_bytes = file.read(len(expected)), 4
    if header != expected:
        raise SnapshotError(f"{path} has a header other than that of {n_rows} vectors of {dim} dimensions")
    size, expected_size = file.seek(0, 2), len(expected) + n_rows * dim * value_bytes
    if size != expected_size:
        raise SnapshotError(
            f"{path} has {size} bytes; expected {expected_size} for {n_rows} vectors of {dim} dimensions"
        )


def _flat_header(dim: int, n_rows: int) -> bytes:
    """The header of an `IndexFlatIP`: that of an empty one with both counts filled in."""
    header = bytearray(faiss.serialize_index(faiss.IndexFlatIP(dim)).tobytes())
    header[8:16] = n_rows.to_bytes(8, "little")
    header[-8:] = (n_rows * dim).to_bytes(8, "little")
    return bytes(header)


def _int8_header(file: BinaryIO, dim: int, n_rows: int) -> tuple[bytes, bytes, int]:
    """The header of an `IndexScalarQuantizer`, which has the ranges of the values in front of the codes.

    Returns:
        The expected header, the file's, and the bytes of a value.
    """
    parameters = faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
    empty = faiss.serialize_index(faiss.IndexScalarQuantizer(dim, *parameters)).tobytes()
    front = bytearray(empty[:-16])
    front[8:16] = n_rows.to_bytes(8, "little")
    front[_IS_TRAINED_OFFSET] = 1
    front += (2 * dim).to_bytes(8, "little")
    header = file.read(len(front) + 8 * dim + 8)
    ranges = header[len(front) : len(front) + 8 * dim]
    if len(ranges) < 8 * dim or not np.isfinite(np.frombuffer(ranges, dtype="<f4")).all():
        ranges = b""  # so that the headers differ
    return bytes(front) + ranges + (n_rows * dim).to_bytes(8, "little"), header, 1
