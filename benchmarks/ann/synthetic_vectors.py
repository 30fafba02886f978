"""Synthetic vectors that are as hard to search as embeddings of real photos.

Each is the embedding of a photo plus noise with the covariance of its category: a smoothed bootstrap (Silverman and
Young, 1987), wide enough that a vector's neighbours are not all copies of the same photo. The noise lies along the
300 principal directions of the category's photos; its variances are theirs to the power of 1.5, rescaled to the same
sum, and it is 1.2 times as wide as the photos' own spread. The result is shrunk towards the category's mean, so that
its covariance equals that of the photos.

What makes a set hard for an approximate index is its local intrinsic dimension. `local_intrinsic_dimension` estimates
it, by maximum likelihood (Levina and Bickel, 2004; Amsaleg et al., 2015), for synthetic and real vectors alike.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.vectors import Vectors, unit_rows

# Chosen so that the local intrinsic dimension is that of the photos: `python -m benchmarks.ann.scale --difficulty`.
_WIDTH = 1.2
_SPECTRUM = 1.5
_MOST_DIRECTIONS = 300
_CHUNK = 16_384


@dataclass(frozen=True)
class Cloud:
    """The distribution that the vectors of one category are sampled from.

    Attributes:
        photos: `(n_photos, dim)` float32, unit rows.
        mean: `(dim,)` float32, of them.
        directions: `(n_directions, dim)` float32, orthogonal, each as long as the noise along it is wide.
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

    def sample(self, count: int, rng: np.random.Generator) -> Vectors:
        """`(count, dim)` float32, unit rows."""
        around = self.photos[rng.integers(0, len(self.photos), count)] - self.mean
        noise = rng.standard_normal((count, len(self.directions)), dtype=np.float32) @ self.directions
        # Divided by this, the covariance stays that of the photos.
        return unit_rows(self.mean + (around + _WIDTH * noise) / np.float32(np.sqrt(1 + _WIDTH**2)))


def skewed_shares(n_categories: int, skew: float = 1.0) -> NDArray[np.float64]:
    """`(n_categories,)`, each category's share of all.

    With a skew of 1 the second has half as many as the first, the third a third; with 2, a quarter and a ninth.
    """
    sizes = 1 / np.arange(1, n_categories + 1) ** skew
    shares: NDArray[np.float64] = sizes / sizes.sum()
    return shares


def generate_chunks(
    clouds: Sequence[Cloud], count: int, rng: np.random.Generator, skew: float = 1.0
) -> Iterator[tuple[Vectors, NDArray[np.int64]]]:
    """`count` vectors of categories in turn by chance, some at a time.

    Args:
        clouds: one a category; categories have `skewed_shares`.
        count: how many in all.
        rng: the same state gives the same vectors.
        skew: of the categories' sizes.

    Yields:
        `(n, dim)` float32 unit rows, and `(n,)` int64, the category of each.
    """
    shares = skewed_shares(len(clouds), skew)
    for start in range(0, count, _CHUNK):
        categories = rng.choice(len(clouds), min(_CHUNK, count - start), p=shares)
        vectors = np.empty((len(categories), clouds[0].photos.shape[1]), dtype=np.float32)
        for category, cloud in enumerate(clouds):
            members = np.flatnonzero(categories == category)
            vectors[members] = cloud.sample(len(members), rng)
        yield vectors, categories


def local_intrinsic_dimension(queries: Vectors, among: Vectors, neighbours: int = 20) -> NDArray[np.float64]:
    """Estimate each query's local intrinsic dimension by maximum likelihood (Amsaleg et al., 2015).

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
