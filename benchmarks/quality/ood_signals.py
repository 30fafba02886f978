"""OOD signals that were tried and are not shipped: of Gaussians, of a subspace, of a kernel.

Each is fitted on the original images that a head was trained on. Gaussians and subspace use 256 principal components.
"""

import numpy as np
from numpy.typing import NDArray

from shared.vectors import Vectors

_COMPONENTS = 256
_SHRINKAGE = 0.5
_SHARPNESS = 6.0
_RIDGE = 0.05


class CandidateSignals:
    """Fitted on embeddings, `(n, dim)`, and their categories, `(n,)` columns."""

    def __init__(self, embeddings: Vectors, labels: NDArray[np.int64]) -> None:
        self._mean = embeddings.mean(axis=0)
        self._components = np.linalg.svd(embeddings - self._mean, full_matrices=False)[2][:_COMPONENTS]
        rows = self._projected(embeddings)
        self._means = np.stack([rows[labels == column].mean(axis=0) for column in range(labels.max() + 1)])
        self._within = _precision(rows - self._means[labels])
        self._overall = _precision(rows)
        self._learned = embeddings
        weights = 1 / np.bincount(labels)[labels]
        kernel = self._kernel(embeddings) + np.diag(_RIDGE * weights.mean() / weights)
        targets = np.eye(len(self._means))[labels]
        self._dual = np.linalg.solve(kernel, targets - targets.mean(axis=1, keepdims=True))

    def of(self, queries: Vectors) -> dict[str, NDArray[np.float64]]:
        """By name, `(n,)`: the higher, the more a query looks in-distribution."""
        rows = self._projected(queries)
        nearest = np.min([_squared(rows - mean, self._within) for mean in self._means], axis=0)
        residual = queries - self._mean - rows @ self._components
        return {
            "Mahalanobis distance": -nearest,
            "relative Mahalanobis distance": _squared(rows, self._overall) - nearest,
            "residual of a subspace": -np.linalg.norm(residual, axis=1).astype(np.float64),
            "kernel ridge regression": (self._kernel(queries) @ self._dual).max(axis=1),
        }

    def _projected(self, embeddings: Vectors) -> NDArray[np.float64]:
        rows: NDArray[np.float64] = ((embeddings - self._mean) @ self._components.T).astype(np.float64)
        return rows

    def _kernel(self, embeddings: Vectors) -> NDArray[np.float64]:
        kernel: NDArray[np.float64] = np.exp(_SHARPNESS * (embeddings @ self._learned.T - 1)).astype(np.float64)
        return kernel


def _precision(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """`(n, dim)`, centred → `(dim, dim)`: the inverse of their shrunk covariance."""
    covariance = rows.T @ rows / len(rows)
    dim = len(covariance)
    shrunk = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * np.trace(covariance) / dim * np.eye(dim)
    return np.linalg.inv(shrunk)


def _squared(rows: NDArray[np.float64], precision: NDArray[np.float64]) -> NDArray[np.float64]:
    squared: NDArray[np.float64] = ((rows @ precision) * rows).sum(axis=1)
    return squared
