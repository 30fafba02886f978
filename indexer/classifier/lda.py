"""Linear discriminant analysis (Fisher, 1936): a linear head from the categories' means and one covariance.

Gradient descent looks at the boundary between categories, this at their distributions. The two err on different images,
and the sum of two linear heads is a linear head: it costs a query nothing (docs/decisions/0012-lda.md).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

_SHRINKAGE = 0.5
_CHUNK = 4096


def lda_head(
    views: NDArray[np.floating[Any]], labels: NDArray[np.int64], n_categories: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fit the head with equal priors; the covariance is shrunk half-way to a multiple of the identity (Friedman, 1989).

    Args:
        views: `(n, dim)` embeddings of any float type, converted to float32 in parts.
        labels: `(n,)`, columns; each category at least once.
        n_categories: the number of columns.

    Returns:
        Weights `(dim, n_categories)` and bias `(n_categories,)`, float32: log odds up to a constant.
    """
    return _solved(_Sums.of(views, labels, n_categories))


def lda_heads(
    views: NDArray[np.floating[Any]], labels: NDArray[np.int64], left_out: NDArray[np.bool_], n_categories: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Fit several heads, each without some of the views; arguments otherwise as of `lda_head`.

    Args:
        views: `(n, dim)`.
        labels: `(n,)`.
        left_out: `(n, n_heads)`, True where a head does not learn a view.
        n_categories: the number of columns.

    Returns:
        Weights `(n_heads, dim, n_categories)` and bias `(n_heads, n_categories)`, float32.
    """
    everything = _Sums.of(views, labels, n_categories)
    heads = []
    for excluded in left_out.T:
        rows = np.flatnonzero(excluded)
        heads.append(_solved(everything - _Sums.of(views[rows], labels[rows], n_categories)))
    weights, biases = zip(*heads, strict=True)
    return np.stack(weights), np.stack(biases)


class _Sums:
    """The number and the sum of each category's views, and the products of all: what a head is computed from."""

    def __init__(self, counts: NDArray[np.int64], sums: NDArray[np.float64], products: NDArray[np.float64]) -> None:
        self.counts, self.sums, self.products = counts, sums, products

    @classmethod
    def of(cls, views: NDArray[np.floating[Any]], labels: NDArray[np.int64], n_categories: int) -> "_Sums":
        n, dim = views.shape
        sums, products = np.zeros((n_categories, dim)), np.zeros((dim, dim))
        for start in range(0, n, _CHUNK):
            rows = views[start : start + _CHUNK].astype(np.float32)
            np.add.at(sums, labels[start : start + _CHUNK], rows)
            products += rows.T @ rows
        return cls(np.bincount(labels, minlength=n_categories), sums, products)

    def __sub__(self, other: "_Sums") -> "_Sums":
        return _Sums(self.counts - other.counts, self.sums - other.sums, self.products - other.products)


def _solved(views: _Sums) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    dim = len(views.products)
    counts = views.counts[:, np.newaxis]
    means = views.sums / np.maximum(counts, 1)
    within = (views.products - means.T @ (counts * means)) / counts.sum()
    shrunk = (1 - _SHRINKAGE) * within + _SHRINKAGE * np.trace(within) / dim * np.eye(dim)
    # If the views of each category are identical, there is no covariance, and any direction is as good.
    weights = _solve(shrunk + 1e-9 * np.eye(dim), means.T)
    bias = -0.5 * np.einsum("dc,cd->c", weights, means)
    return np.ascontiguousarray(weights, np.float32), bias.astype(np.float32)


def _solve(covariance: NDArray[np.float64], means: NDArray[np.float64]) -> NDArray[np.float64]:
    """Solve `(dim, dim)` for `(dim, n)`; by Cholesky, in half the time, unless rounding has made it indefinite."""
    from scipy.linalg import cho_factor, cho_solve  # slow to import, and most commands train nothing

    solution: NDArray[np.float64]
    try:
        solution = cho_solve(cho_factor(covariance), means)
    except np.linalg.LinAlgError:
        solution = np.linalg.solve(covariance, means).astype(np.float64)
    return solution
