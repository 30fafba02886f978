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
    n, dim = views.shape
    sums, products = np.zeros((n_categories, dim)), np.zeros((dim, dim))
    for start in range(0, n, _CHUNK):
        rows = views[start : start + _CHUNK].astype(np.float32)
        np.add.at(sums, labels[start : start + _CHUNK], rows)
        products += rows.T @ rows
    counts = np.bincount(labels, minlength=n_categories)[:, np.newaxis]
    means = sums / counts
    within = (products - means.T @ (counts * means)) / n
    shrunk = (1 - _SHRINKAGE) * within + _SHRINKAGE * np.trace(within) / dim * np.eye(dim)
    # If the views of each category are identical, there is no covariance, and any direction is as good.
    weights = np.linalg.solve(shrunk + 1e-9 * np.eye(dim), means.T)
    bias = -0.5 * np.einsum("dc,cd->c", weights, means)
    return weights.astype(np.float32), bias.astype(np.float32)
