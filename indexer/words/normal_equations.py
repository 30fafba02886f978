"""The normal equations of the regressions between embeddings and words, summed over images in parts.

Their size does not depend on the number of images, so that memory does not either. They are summed per fold: the sums
without one fold are those of all less its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from indexer.embedding.views import Views
from shared.vectors import Vectors

_CHUNK = 4096


@dataclass(frozen=True)
class LearnedImages:
    """The images to learn from.

    Attributes:
        views: base embeddings of the catalogue, the originals first.
        images: `(n,)` int64, indices in `views`.
        folds: `(n,)` int64, from 0; -1 for images of no fold.
        texts: `(n, n_features)`, the TF-IDF features of what is said of each image's item.
    """

    views: Views
    images: NDArray[np.int64]
    folds: NDArray[np.int64]
    texts: csr_array

    def blocks(self) -> Iterator[tuple[NDArray[np.int64], Vectors]]:
        """Yield positions, and `(n, dim)` embeddings of the images there, in parts."""
        for start in range(0, len(self.images), _CHUNK):
            positions = np.arange(start, min(start + _CHUNK, len(self.images)))
            yield positions, self.embeddings(positions)

    def embeddings(self, positions: NDArray[np.int64]) -> Vectors:
        """`(n,)` positions → `(n, dim)` float32 unit rows."""
        return self.views[self.images[positions]][:, 0]


@dataclass
class Sums:
    """Sums over some images.

    Attributes:
        n: their number.
        embeddings: `(dim,)` float64.
        texts: `(n_features,)` float64.
        squares: `(dim, dim)` float64, of embeddings with embeddings.
        products: `(dim, n_features)` float64, of embeddings with texts.
    """

    n: int
    embeddings: NDArray[np.float64]
    texts: NDArray[np.float64]
    squares: NDArray[np.float64]
    products: NDArray[np.float64]

    @classmethod
    def zero(cls, dim: int, n_features: int) -> "Sums":
        """The sums over no image."""
        return cls(0, np.zeros(dim), np.zeros(n_features), np.zeros((dim, dim)), np.zeros((dim, n_features)))

    def add(self, embeddings: Vectors, texts: csr_array) -> None:
        """Add images: `(n, dim)` and `(n, n_features)`."""
        self.n += len(embeddings)
        self.embeddings += embeddings.sum(axis=0, dtype=np.float64)
        self.texts += np.asarray(texts.sum(axis=0)).ravel()
        self.squares += embeddings.T @ embeddings
        self.products += (texts.T @ embeddings).T

    def __add__(self, other: "Sums") -> "Sums":
        """The sums over the images of both."""
        return self._combined(other, 1)

    def __sub__(self, other: "Sums") -> "Sums":
        """The sums without the images of the other."""
        return self._combined(other, -1)

    def _combined(self, other: "Sums", sign: int) -> "Sums":
        return Sums(
            self.n + sign * other.n,
            self.embeddings + sign * other.embeddings,
            self.texts + sign * other.texts,
            self.squares + sign * other.squares,
            self.products + sign * other.products,
        )

    def centred(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Squares and products of the deviations from the means, of the shapes of `squares` and `products`."""
        squares = self.squares - np.outer(self.embeddings, self.embeddings) / self.n
        return squares, self.products - np.outer(self.embeddings, self.texts) / self.n


def sums_by_fold(images: LearnedImages, n_folds: int) -> tuple[Sums, list[Sums]]:
    """Return the sums over all images, and those over each fold."""
    dim, n_features = images.views.shape[2], images.texts.shape[1]
    outside = Sums.zero(dim, n_features)
    folds = [Sums.zero(dim, n_features) for _ in range(n_folds)]
    for positions, embeddings in images.blocks():
        texts = images.texts[positions]
        for fold, sums in zip(range(-1, n_folds), [outside, *folds], strict=True):
            chosen = np.flatnonzero(images.folds[positions] == fold)
            if len(chosen):
                sums.add(embeddings[chosen], texts[chosen])
    return sum(folds, outside), folds
