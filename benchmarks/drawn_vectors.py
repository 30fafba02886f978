"""Any number of vectors that are as hard to search as embeddings of real photos.

Each is drawn around the embedding of a photo, with the covariance of its category: a smoothed bootstrap (Silverman and
Young, 1987), wide enough that a vector's neighbours are others than those drawn around the same photo. What makes a set
hard for an approximate index is its local intrinsic dimension (Amsaleg et al., 2015): `local_intrinsic_dimension`
compares the drawn with the real.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.vectors import Vectors, unit_rows

# Chosen so that the local intrinsic dimension is that of the photos; `python -m benchmarks.scale --difficulty` shows it.
_WIDTH = 1.2
_SPECTRUM = 1.5
_MOST_DIRECTIONS = 300
_CHUNK = 16_384


@dataclass(frozen=True)
class Cloud:
    """What the vectors of one category are drawn from.

    Attributes:
        photos: `(n_photos, dim)` float32, unit rows.
        mean: `(dim,)` float32, of them.
        directions: `(n_directions, dim)` float32, orthogonal, each as long as the spread along it.
    """

    photos: Vectors
    mean: NDArray[np.float32]
    directions: NDArray[np.float32]

    @classmethod
    def of(cls, photos: Vectors) -> "Cloud":
        """Of `(n_photos, dim)` unit rows, at least two."""
        mean = photos.mean(axis=0)
        _, lengths, directions = np.linalg.svd(photos - mean, full_matrices=False)
        variances = (lengths**2)[:_MOST_DIRECTIONS] / (len(photos) - 1)
        sharpened = variances**_SPECTRUM
        sharpened *= variances.sum() / sharpened.sum()
        spread = np.sqrt(sharpened)[:, np.newaxis] * directions[:_MOST_DIRECTIONS]
        return cls(photos, mean, spread.astype(np.float32))

    def draw(self, count: int, rng: np.random.Generator) -> Iterator[Vectors]:
        """`count` unit rows, some `(n, dim)` float32 at a time."""
        for start in range(0, count, _CHUNK):
            size = min(_CHUNK, count - start)
            around = self.photos[rng.integers(0, len(self.photos), size)] - self.mean
            noise = rng.standard_normal((size, len(self.directions)), dtype=np.float32) @ self.directions
            # Divided by this, the covariance stays that of the photos.
            yield unit_rows(self.mean + (around + _WIDTH * noise) / np.float32(np.sqrt(1 + _WIDTH**2)))


def local_intrinsic_dimension(queries: Vectors, among: Vectors, neighbours: int = 20) -> NDArray[np.float64]:
    """How fast each query's neighbourhood fills with distance: the maximum-likelihood estimate of Amsaleg et al. (2015).

    Args:
        queries: `(n_queries, dim)` float32, unit rows, none of them in `among`.
        among: `(n, dim)` float32, unit rows.
        neighbours: of each query that are counted.

    Returns:
        `(n_queries,)`.
    """
    scores = queries @ among.T
    nearest = -np.sort(-np.partition(scores, -neighbours, axis=1)[:, -neighbours:], axis=1)
    distances = np.sqrt(np.maximum(2 - 2 * nearest.astype(np.float64), 1e-12))
    found: NDArray[np.float64] = -1 / np.log(distances[:, :-1] / distances[:, -1:]).mean(axis=1)
    return found
