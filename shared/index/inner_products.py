"""Inner products of queries with some rows, bit by bit as FAISS's exact search computes them."""

from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from shared.vectors import Vectors

# FAISS's exact search calls this for each row, so scores have the same bits; FAISS's types lack it.
_inner_products_by_index = faiss.__dict__["fvec_inner_products_by_idx"]


def inner_products(queries: Vectors, rows: Vectors, indices: NDArray[np.int64]) -> NDArray[np.float32]:
    """The inner product of each query with some of the rows.

    Args:
        queries: `(n, dim)` float32.
        rows: `(n_rows, dim)` float32.
        indices: `(n, count)` int64, the rows for each query.

    Returns:
        `(n, count)` float32.
    """
    rows = np.ascontiguousarray(rows, dtype=np.float32)
    return inner_products_at(faiss.swig_ptr(rows), queries, indices)


def inner_products_at(rows: Any, queries: Vectors, indices: NDArray[np.int64]) -> NDArray[np.float32]:
    """As `inner_products`, where `rows` is a SWIG pointer to the first row."""
    queries = np.ascontiguousarray(queries, dtype=np.float32)
    indices = np.ascontiguousarray(indices, dtype=np.int64)
    products = np.empty(indices.shape, dtype=np.float32)
    pointers = faiss.swig_ptr(products), faiss.swig_ptr(queries), rows, faiss.swig_ptr(indices)
    _inner_products_by_index(*pointers, queries.shape[1], *indices.shape)
    return products
