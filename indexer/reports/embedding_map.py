"""A map of the catalogue: its images on the first two principal components of their embeddings."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexer.data_quality.snapshot_images import SnapshotImages
from indexer.files.location import location
from shared.snapshot.snapshot import Snapshot

_MAX_IMAGES = 1200
_THUMBNAILS = 36
_SEED = 0


@dataclass(frozen=True)
class EmbeddingMap:
    """Images on a plane.

    Attributes:
        points: `(n, 2)` float64, the coordinates along the two components.
        categories: `n` names.
        explained: the share of the variance along each of the two.
        images: the number of images of the catalogue; the points are all of them, or a random sample.
        thumbnails: points that are far from each other, and their image files.
    """

    points: NDArray[np.float64]
    categories: tuple[str, ...]
    explained: tuple[float, float]
    images: int
    thumbnails: tuple[tuple[int, Path], ...]


def map_snapshot(snapshot: Snapshot) -> EmbeddingMap | None:
    """Map an open snapshot; None if it has fewer than three images, which span no plane."""
    originals = SnapshotImages.of(snapshot.items.without_metadata(), snapshot.partitions)
    if len(originals) < 3:
        return None
    chosen = np.arange(len(originals))
    if len(chosen) > _MAX_IMAGES:
        chosen = np.sort(np.random.default_rng(_SEED).permutation(chosen)[:_MAX_IMAGES])
    points, explained = principal_plane(originals.embeddings(chosen))
    root = location(snapshot.manifest.image_root)
    distant = spread_out(points, _THUMBNAILS)
    return EmbeddingMap(
        points=points,
        categories=tuple(originals.item(image).category for image in chosen.tolist()),
        explained=explained,
        images=len(originals),
        thumbnails=tuple((point, root / originals.path(int(chosen[point]))) for point in distant),
    )


def principal_plane(embeddings: NDArray[np.float32]) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """Project onto the first two principal components, each with the sign that makes its largest weight positive.

    Args:
        embeddings: `(n, dim)`, at least 2 of each.

    Returns:
        `(n, 2)` float64, and the share of the variance along each.
    """
    from scipy.linalg import eigh  # slow to import, and most commands draw no map

    centred = embeddings.astype(np.float64) - embeddings.mean(axis=0, dtype=np.float64)
    # The eigenvectors of the smaller of the two products, which are the singular vectors of `centred`.
    is_wide = centred.shape[0] < centred.shape[1]
    product = centred @ centred.T if is_wide else centred.T @ centred
    last = len(product) - 1
    values, vectors = eigh(product, subset_by_index=[last - 1, last])
    axes = vectors[:, ::-1]
    if is_wide:
        axes = centred.T @ axes
        axes /= np.maximum(np.linalg.norm(axes, axis=0), 1e-12)
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), [0, 1]])
    second, first = (np.maximum(values, 0) / max(float(np.trace(product)), 1e-12)).tolist()
    return centred @ axes, (first, second)


def spread_out(points: NDArray[np.float64], count: int) -> list[int]:
    """Choose points far from each other: the nearest to the mean, then repeatedly the farthest from those chosen.

    Args:
        points: `(n, 2)`.
        count: the largest number of points.
    """
    first = int(np.linalg.norm(points - points.mean(axis=0), axis=1).argmin())
    chosen = [first]
    distance = np.linalg.norm(points - points[first], axis=1)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return chosen
