"""Groups of images that must come from one shoot: the same object, shot after shot.

Catalogue photos come in series. A classifier that has learned one photo of a series knows the others as well, so that
figures on them say nothing of photos from elsewhere. So images that are not independent are grouped:

1. Images of one item are linked.
2. Images of one category are linked if their cosine is high for this catalogue: their distance (1 - cosine) is at most
   `MAX_RATIO` of the median distance of an image to its 32nd nearest. A fixed cosine would not do, since the usual one
   depends on the catalogue and on the base.
3. Linked images are one group, and so are those that are linked through others (single linkage).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.groups.nearest_images import NEIGHBOURS, Neighbours

# Chosen on photos in series and on photos without; docs/decisions/0033-groups.md.
MAX_RATIO = 0.55
_BLOCK = 65_536
_IMAGES_PER_RANK = 20  # in a small catalogue the 32nd nearest is of another kind


@dataclass(frozen=True)
class ImageGroups:
    """The groups of a catalogue's images.

    Attributes:
        numbers: `(n_images,)` int64, the same for images of one group: the lowest index of any of its images.
        near: the nearest images of each.
        columns: `(n_images,)` int64, the number of each one's category.
        min_cosine: of two linked images of different items.
    """

    numbers: NDArray[np.int64]
    near: Neighbours
    columns: NDArray[np.int64]
    min_cosine: float

    def linked(self, image: int) -> NDArray[np.int64]:
        """The images that are linked to an image by their cosine, nearest first."""
        near, cosines = self.near.images[image], self.near.cosines[image]
        is_linked = (near >= 0) & (cosines >= self.min_cosine) & (self.columns[near] == self.columns[image])
        linked: NDArray[np.int64] = near[is_linked]
        return linked

    @property
    def n_groups(self) -> int:
        """The number of groups."""
        return len(np.unique(self.numbers))

    def largest(self, n: int) -> list[NDArray[np.int64]]:
        """The images of the `n` groups with the most images, largest first; only those of two or more."""
        numbers, counts = np.unique(self.numbers, return_counts=True)
        order = np.argsort(-counts, kind="stable")[:n]
        return [np.flatnonzero(self.numbers == numbers[position]) for position in order if counts[position] > 1]


def link_images(near: Neighbours, image_items: NDArray[np.int64], columns: NDArray[np.int64]) -> ImageGroups:
    """Group images; the same images give the same groups.

    Args:
        near: the nearest images of each.
        image_items: `(n_images,)`, the number of each one's item.
        columns: `(n_images,)`, the number of each one's category.
    """
    min_cosine = linking_cosine(near)
    one, other = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for start in range(0, len(columns), _BLOCK):
        images, cosines = near.images[start : start + _BLOCK], near.cosines[start : start + _BLOCK]
        own = columns[start : start + _BLOCK, np.newaxis]
        rows, ranks = np.nonzero((images >= 0) & (cosines >= min_cosine) & (columns[images] == own))
        one.append(rows + start)
        other.append(images[rows, ranks])
    same_item = np.flatnonzero(np.diff(image_items) == 0)  # images of an item are adjacent
    numbers = _components(len(columns), np.concatenate([*one, same_item]), np.concatenate([*other, same_item + 1]))
    return ImageGroups(numbers, near, columns, min_cosine)


def linking_cosine(near: Neighbours) -> float:
    """The lowest cosine of two images that are linked; above 1, that is for no images, if there is only one image."""
    n_images = len(near.images)
    rank = max(1, min(NEIGHBOURS, n_images // _IMAGES_PER_RANK))
    cosines = near.cosines[:, rank - 1]
    if not np.isfinite(cosines).any():
        return 2.0
    # Not below it by rounding: exact copies have no distance at all.
    return 1 - MAX_RATIO * float(np.median(1 - cosines[np.isfinite(cosines)])) - 1e-6


def _components(n_images: int, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """`(n_images,)` int64: the lowest image that each is connected with, by links of `(n_links,)` images each."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components  # slow to import, and an unchanged build needs it not

    graph = coo_array((np.ones(len(one), dtype=np.int8), (one, other)), shape=(n_images, n_images))
    _, labels = connected_components(graph, directed=False)
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    return first[inverse].astype(np.int64)
