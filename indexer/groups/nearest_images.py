"""The nearest images of every image, over all categories.

Up to 10,000 images, search is exact. Beyond that its time would grow with their square, so candidates are found in an
inverted file (FAISS, IVF) over 128 principal components, and then re-ranked by the full embeddings:

1. Project every embedding onto the principal components of a sample, and keep the length of the residual as one more
   dimension: the inner product of two such rows is at least their cosine, so that near-duplicates stay near.
2. Find candidates among the rows of the nearest cells.
3. Compute their true cosines from the embeddings: category by category, and in each cell by cell, since these share
   most candidates. In another order each embedding would be read some thirty times, from all over the files, which is
   far too slow if they don't fit in memory.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import faiss
import numpy as np
from numpy.typing import NDArray

from shared.index.inner_products import inner_products
from shared.vectors import Vectors

NEIGHBOURS = 32
MAX_EXACT = 10_000
"""Images up to which all are compared with all."""
_COMPONENTS = 128
_MAX_SAMPLE = 100_000  # images that the components are computed from
_NPROBE = 16
_ROWS_PER_CELL = 160  # in a large catalogue
_TRAINING_ROWS_PER_CELL = 24
_TRAINING_ROUNDS = 10
_SEED = 1234
_BLOCK = 64


class ImageEmbeddings(Protocol):
    """The embeddings of a catalogue's images, read for some of them at a time."""

    @property
    def columns(self) -> NDArray[np.int64]:
        """`(n_images,)` int64: the number of each image's category."""

    def __len__(self) -> int:
        """The number of images."""

    def embeddings(self, images: NDArray[np.int64]) -> Vectors:
        """`(n,)` image numbers → `(n, dim)` float32, unit rows."""

    def blocks(self, step: int = 1) -> Iterator[tuple[NDArray[np.int64], Vectors]]:
        """Yield all images, or each `step`-th, in blocks: numbers `(n,)` and embeddings `(n, dim)` float32."""


@dataclass(frozen=True)
class Neighbours:
    """The nearest images of every image, without itself.

    Attributes:
        images: `(n_images, NEIGHBOURS)` int64, nearest first; -1 if there are no more.
        cosines: the same shape, float32.
        exact: True if search was exact, so that none is missing.
    """

    images: NDArray[np.int64]
    cosines: NDArray[np.float32]
    exact: bool


def nearest_images(originals: ImageEmbeddings) -> Neighbours:
    """Find the `NEIGHBOURS` nearest images of every image."""
    if len(originals) <= MAX_EXACT:
        embeddings = originals.embeddings(np.arange(len(originals)))
        cosines, images = _pick(*faiss.knn(embeddings, embeddings, NEIGHBOURS + 1, faiss.METRIC_INNER_PRODUCT))
        return Neighbours(images, cosines, exact=True)
    candidates, order = _candidates(originals)
    cosines, images = _pick(_cosines(originals, candidates, order), candidates)
    return Neighbours(images, cosines, exact=False)


def _pick(cosines: NDArray[np.float32], images: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Select the nearest of `(n_images, NEIGHBOURS + 1)` candidates, without the image itself."""
    missing = (images == np.arange(len(images))[:, np.newaxis]) | (images < 0)
    images = np.where(missing, -1, images)
    cosines = np.where(missing, -np.inf, np.minimum(cosines, np.float32(1)))  # rounding can make a cosine exceed 1
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :NEIGHBOURS]
    return np.take_along_axis(cosines, order, axis=1), np.take_along_axis(images, order, axis=1)


def _candidates(originals: ImageEmbeddings) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`(n_images, NEIGHBOURS + 1)` int64: near images, or -1; and `(n_images,)`: all images by category and cell."""
    reduced = _reduced(originals)
    n_cells = _n_cells(len(reduced))
    cells = faiss.IndexFlatIP(reduced.shape[1])
    index = faiss.IndexIVFFlat(cells, reduced.shape[1], n_cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1  # no warning: so few are intended
    index.cp.niter = _TRAINING_ROUNDS
    chosen = np.random.default_rng(_SEED).permutation(len(reduced))[: _TRAINING_ROWS_PER_CELL * n_cells]
    index.train(reduced[np.sort(chosen)])
    index.add(reduced)
    index.nprobe = _NPROBE
    _, images = index.search(reduced, NEIGHBOURS + 1)
    by_cell = _by_cell(index)
    return images, by_cell[np.argsort(originals.columns[by_cell], kind="stable")]


def _by_cell(index: faiss.IndexIVF) -> NDArray[np.int64]:
    lists = index.invlists
    assert lists is not None
    cells = [faiss.rev_swig_ptr(lists.get_ids(cell), lists.list_size(cell)) for cell in range(lists.nlist)]
    return np.concatenate(cells).astype(np.int64)  # a copy


def _n_cells(n_images: int) -> int:
    """Twice the square root; more in a large catalogue, so that a search compares no more rows than in a small one.

    But so few that assigning images to cells does not take longest.
    """
    root = math.sqrt(n_images)
    return round(max(2 * root, min(n_images / _ROWS_PER_CELL, 8 * root)))


def _reduced(originals: ImageEmbeddings) -> Vectors:
    """`(n_images, _COMPONENTS + 1)` float32, unit rows."""
    step = max(1, len(originals) // _MAX_SAMPLE)
    squares: NDArray[np.float64] = sum(
        ((rows.T @ rows).astype(np.float64) for _, rows in originals.blocks(step)), start=np.zeros(())
    )
    basis = np.linalg.eigh(squares)[1][:, -_COMPONENTS:].astype(np.float32)
    reduced = np.empty((len(originals), basis.shape[1] + 1), dtype=np.float32)
    for images, rows in originals.blocks():
        projected = rows @ basis
        residual = 1 - np.einsum("ij,ij->i", projected, projected)
        reduced[images] = np.column_stack([projected, np.sqrt(np.maximum(residual, 0))])
    return reduced


def _cosines(
    originals: ImageEmbeddings, candidates: NDArray[np.int64], order: NDArray[np.int64]
) -> NDArray[np.float32]:
    """The cosine of each image with each of its candidates, in the shape of `candidates`."""
    cosines = np.empty(candidates.shape, dtype=np.float32)
    for start in range(0, len(order), _BLOCK):
        images = order[start : start + _BLOCK]
        others, columns = np.unique(np.maximum(candidates[images], 0), return_inverse=True)
        queries, rows = originals.embeddings(images), originals.embeddings(others)
        cosines[images] = inner_products(queries, rows, columns.reshape(len(images), -1))
    return cosines
