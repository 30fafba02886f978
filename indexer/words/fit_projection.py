"""Fitting of the projection, and the choice of its strength.

1. A ridge regression predicts the features of words from embeddings: `W`, `(n_features, dim)`.
2. The metric `I + a² WᵀW` brings images nearer that it predicts the same words for.
3. Ridge and `a` are chosen by cross-validation over whole groups of images: by the similarity of an image's words to
   those of its nearest image outside its fold. Without a gain beyond noise there is no projection.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from indexer.words.normal_equations import LearnedImages, Sums
from shared.model.projection import Projection

RIDGES = (0.03, 0.3)
STRENGTHS = (1.0, 2.0, 3.0)
MAX_RANK = 128
_MIN_GAIN = 1.001
_MAX_QUERIES = 1_500
_MAX_GALLERY = 6_000
_MIN_STANDARD_ERRORS = 3.0  # the best of several candidates is better by chance, too
_SEED = 0


@dataclass(frozen=True)
class Choice:
    """The strength of a projection, by cross-validation.

    Attributes:
        ridge: of the regression.
        strength: `a`; 0 for no projection.
        plain: the mean similarity of an image's words to those of its nearest image, without a projection.
        projected: the same with it.
        standard_error: of the difference, over groups; 0 with fewer than two.
    """

    ridge: float
    strength: float
    plain: float
    projected: float
    standard_error: float


def word_regression(sums: Sums, ridge: float) -> NDArray[np.float64]:
    """`(dim, n_features)`: the weights of the regression from embeddings to words, transposed `W`."""
    squares, products = sums.centred()
    return np.linalg.solve(squares + ridge * np.eye(len(squares)), products).astype(np.float64, copy=False)


def word_metric(sums: Sums, ridge: float) -> NDArray[np.float64]:
    """`(dim, dim)`: `WᵀW` of the regression with this ridge."""
    predictors = word_regression(sums, ridge)
    metric: NDArray[np.float64] = predictors @ predictors.T
    return metric


def fit_projection(sums: Sums, choice: Choice) -> Projection:
    """The projection with the chosen ridge and strength, learned from the images of these sums."""
    metric = word_metric(sums, choice.ridge)
    dim = len(metric)
    values, vectors = eigh(metric, subset_by_index=[max(0, dim - MAX_RANK), dim - 1])
    gains = np.sqrt(1 + choice.strength**2 * np.maximum(values, 0))
    kept = gains > _MIN_GAIN
    return Projection(np.ascontiguousarray(vectors[:, kept], np.float32), gains[kept].astype(np.float32))


def choose_strength(images: LearnedImages, total: Sums, folds: list[Sums], groups: NDArray[np.int64]) -> Choice:
    """Choose ridge and strength by cross-validation; no projection where no image of a fold can be compared.

    Args:
        images: to learn from.
        total: the sums over all.
        folds: the sums over each fold.
        groups: `(n,)` int64, the same number for images that are not independent; each in one fold.
    """
    candidates = [(ridge, strength) for ridge in RIDGES for strength in STRENGTHS]
    all_tests = [_FoldTest.of(images, fold) for fold in range(len(folds))]
    judged = [fold for fold, test in enumerate(all_tests) if test.similarities.size]
    if not judged:
        return Choice(RIDGES[0], 0.0, 0.0, 0.0, 0.0)
    tests = [all_tests[fold] for fold in judged]
    plain = np.concatenate([test.plain_similarity() for test in tests])
    projected: list[NDArray[np.float64]] = []
    for ridge in RIDGES:
        metrics = (word_metric(total - folds[fold], ridge) for fold in judged)
        of_folds = [test.word_similarities(metric) for test, metric in zip(tests, metrics, strict=True)]
        projected.extend(np.concatenate(of_folds, axis=1))
    best = int(np.argmax([values.mean() for values in projected]))
    gain = projected[best] - plain
    error = clustered_standard_error(gain, groups[np.concatenate([test.queries for test in tests])])
    ridge, strength = candidates[best]
    if gain.mean() <= _MIN_STANDARD_ERRORS * error:
        strength = 0.0
    shown_error = error if np.isfinite(error) else 0.0  # a manifest has finite numbers
    return Choice(ridge, strength, float(plain.mean()), float(projected[best].mean()), shown_error)


def clustered_standard_error(values: NDArray[np.float64], groups: NDArray[np.int64]) -> float:
    """Return the standard error of a mean over images that come in groups (Liang and Zeger, 1986).

    Args:
        values: `(n,)`.
        groups: `(n,)`, the same number for values that are not independent.
    """
    _, numbers = np.unique(groups, return_inverse=True)
    sums = np.bincount(numbers, weights=values - values.mean())
    n_groups = len(sums)
    if n_groups < 2:
        return float("inf")
    return float(np.sqrt((sums**2).sum() * n_groups / (n_groups - 1)) / len(values))


@dataclass(frozen=True)
class _FoldTest:
    """Images of a fold, and those outside that they are to find.

    Attributes:
        queries: `(n_queries,)` int64, positions.
        query_rows: `(n_queries, dim)` float32.
        gallery_rows: `(n_gallery, dim)` float32.
        similarities: `(n_queries, n_gallery)` float32: of their words.
    """

    queries: NDArray[np.int64]
    query_rows: NDArray[np.float32]
    gallery_rows: NDArray[np.float32]
    similarities: NDArray[np.float32]

    @classmethod
    def of(cls, images: LearnedImages, fold: int) -> "_FoldTest":
        random = np.random.default_rng([_SEED, fold])
        queries = _some(np.flatnonzero(images.folds == fold), _MAX_QUERIES, random)
        gallery = _some(np.flatnonzero(images.folds != fold), _MAX_GALLERY, random)
        similarities = (images.texts[queries] @ images.texts[gallery].T).toarray()
        return cls(queries, images.embeddings(queries), images.embeddings(gallery), similarities)

    def plain_similarity(self) -> NDArray[np.float64]:
        """`(n_queries,)`: the similarity of each query's words to those of its nearest image."""
        return self._of_nearest(self.query_rows @ self.gallery_rows.T)

    def word_similarities(self, metric: NDArray[np.float64]) -> NDArray[np.float64]:
        """`(n_strengths, n_queries)`: the same, with projections of each strength."""
        products = self.query_rows @ self.gallery_rows.T
        moved = self.gallery_rows @ metric.astype(np.float32)
        learned, squares = self.query_rows @ moved.T, np.einsum("ij,ij->i", moved, self.gallery_rows)
        return np.stack(
            [  # a query's own length changes no order
                self._of_nearest((products + np.float32(a**2) * learned) / np.sqrt(1 + np.float32(a**2) * squares))
                for a in STRENGTHS
            ]
        )

    def _of_nearest(self, products: NDArray[np.float32]) -> NDArray[np.float64]:
        nearest = products.argmax(axis=1)
        found: NDArray[np.float64] = self.similarities[np.arange(len(nearest)), nearest].astype(np.float64)
        return found


def _some(positions: NDArray[np.int64], limit: int, random: np.random.Generator) -> NDArray[np.int64]:
    return positions if len(positions) <= limit else np.sort(random.permutation(positions)[:limit])
