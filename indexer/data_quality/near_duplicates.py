"""Near-duplicate items: items with the same file, or nearly the same picture.

1. Compute the usual distance of each image: 1 - cosine of its tenth nearest image of another item.
2. Pair images of different items that are the same file, or whose distance is at most a quarter of the usual one of
   both, a ratio test as by Lowe (2004, "Distinctive Image Features from Scale-Invariant Keypoints"). A fixed cosine
   would not do: a fine-tuned backbone brings whole categories closer together than a frozen one brings copies of a
   photo, and studio photos of one kind of product are as close.
3. Join pairs into groups of items (union-find).
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.data_quality.snapshot_images import SnapshotImages
from indexer.groups.nearest_images import Neighbours

# Chosen by benchmarks/quality/near_duplicates.py; docs/reference/benchmarks.md.
MAX_RATIO = 0.25
_USUAL_NEIGHBOUR = 10
_MIN_SHARE_OF_MEDIAN = 0.3


@dataclass(frozen=True)
class Duplicate:
    """An item of a group, and the item that it resembles most there.

    Attributes:
        item_id: the item.
        category: its label.
        image: the path of its image in the pair.
        like: the id of the other item.
        like_image: the path of its image.
        cosine: of the two images.
        ratio: of their distance, 1 - cosine, to the usual one; 0 for the same file.
        same_file: True if the two files are identical.
    """

    item_id: str
    category: str
    image: str
    like: str
    like_image: str
    cosine: float
    ratio: float
    same_file: bool


@dataclass(frozen=True)
class Group:
    """Items that are near-duplicates of each other, directly or through others of the group."""

    items: tuple[Duplicate, ...]

    @property
    def categories(self) -> tuple[str, ...]:
        """Their labels, sorted; more than one contradict each other."""
        return tuple(sorted({duplicate.category for duplicate in self.items}))

    @property
    def least_ratio(self) -> float:
        """The ratio of the nearest pair."""
        return min(duplicate.ratio for duplicate in self.items)


@dataclass(frozen=True)
class NearDuplicates:
    """The groups, those over several categories first, then by their nearest pair.

    Attributes:
        max_ratio: the largest ratio of a pair.
        exact: True if every image was compared with every other.
        images: the number of images.
        groups: of two or more items.
    """

    max_ratio: float
    exact: bool
    images: int
    groups: tuple[Group, ...]

    @property
    def contradictions(self) -> int:
        """The number of groups with items of several categories."""
        return sum(len(group.categories) > 1 for group in self.groups)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        groups = [
            {"categories": group.categories, "items": [asdict(duplicate) for duplicate in group.items]}
            for group in self.groups
        ]
        return {"max_ratio": self.max_ratio, "exact": self.exact, "images": self.images, "groups": groups}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "NearDuplicates":
        """Read the result of `as_dict`."""
        groups = tuple(Group(tuple(Duplicate(**item) for item in group["items"])) for group in values["groups"])
        return cls(values["max_ratio"], values["exact"], values["images"], groups)


def find_near_duplicates(originals: SnapshotImages, near: Neighbours, max_ratio: float = MAX_RATIO) -> NearDuplicates:
    """Find groups of near-duplicate items.

    Args:
        originals: the images.
        near: their nearest images.
        max_ratio: the largest distance of a pair, as a share of the usual one.
    """
    pairs = _pairs(originals, near, max_ratio)
    best = pairs.nearest(originals.image_items)
    members: dict[int, list[int]] = {}
    for item, root in _roots(originals.image_items[pairs.one], originals.image_items[pairs.other]).items():
        members.setdefault(root, []).append(item)
    groups = [Group(tuple(_duplicate(originals, *best[item]) for item in sorted(items))) for items in members.values()]
    groups.sort(key=lambda group: (len(group.categories) == 1, group.least_ratio, group.items[0].item_id))
    return NearDuplicates(max_ratio, near.exact, len(originals), tuple(groups))


@dataclass(frozen=True)
class _Pairs:
    """Pairs of images of different items, each pair both ways; `(n_pairs,)` each.

    Attributes:
        one: int64, an image.
        other: int64, the image that it resembles.
        cosines: float32.
        ratios: float32.
    """

    one: NDArray[np.int64]
    other: NDArray[np.int64]
    cosines: NDArray[np.float32]
    ratios: NDArray[np.float32]

    def nearest(self, image_items: NDArray[np.int64]) -> dict[int, tuple[int, int, float, float]]:
        """Return, for every item in a pair, its image in the nearest pair, the other image, their cosine and ratio.

        Args:
            image_items: `(n_images,)`, the item of each image.
        """
        order = np.lexsort((self.other, self.one, self.ratios))[::-1]  # the nearest last, so that it stays
        columns = (array[order].tolist() for array in (self.one, self.other, self.cosines, self.ratios))
        return dict(zip(image_items[self.one[order]].tolist(), zip(*columns, strict=True), strict=True))


def _pairs(originals: SnapshotImages, near: Neighbours, max_ratio: float) -> _Pairs:
    usual = _usual_distances(originals.image_items, near)
    reach = np.where(near.images >= 0, np.minimum(usual[:, np.newaxis], usual[near.images]), np.float32(0))
    images, ranks = np.nonzero((near.images >= 0) & (1 - near.cosines <= max_ratio * reach))
    cosines = near.cosines[images, ranks]
    ratios = (1 - cosines) / np.maximum(reach[images, ranks], np.finfo(np.float32).tiny)
    same = np.array(list(_same_files(originals)), dtype=np.int64).reshape(-1, 2)
    one = np.concatenate([same[:, 0], images])
    other = np.concatenate([same[:, 1], near.images[images, ranks]])
    cosines = np.concatenate([np.ones(len(same), dtype=np.float32), cosines])
    ratios = np.concatenate([np.zeros(len(same), dtype=np.float32), ratios])
    two_items = originals.image_items[one] != originals.image_items[other]
    one, other, cosines, ratios = one[two_items], other[two_items], cosines[two_items], ratios[two_items]
    return _Pairs(np.append(one, other), np.append(other, one), np.append(cosines, cosines), np.append(ratios, ratios))


def _usual_distances(image_items: NDArray[np.int64], near: Neighbours) -> NDArray[np.float32]:
    """`(n_images,)` float32: the distance of the tenth nearest image of another item, or the furthest of fewer.

    At least a share of the median, since an image with many copies would otherwise have none nearer than usual.
    """
    is_stranger = (near.images >= 0) & (image_items[near.images] != image_items[:, np.newaxis])
    counted = np.cumsum(is_stranger, axis=1)
    ranks = (counted == np.minimum(counted[:, -1:], _USUAL_NEIGHBOUR)).argmax(axis=1)
    has_strangers = is_stranger.any(axis=1)
    distances = np.where(has_strangers, 1 - near.cosines[np.arange(len(ranks)), ranks], np.float32(0))
    least = _MIN_SHARE_OF_MEDIAN * np.median(distances[has_strangers]) if has_strangers.any() else 0.0
    return np.maximum(distances, np.float32(least))


def _same_files(originals: SnapshotImages) -> Iterator[tuple[int, int]]:
    """Yield the first image of each file, and every other image of the same file."""
    seen: dict[bytes, int] = {}
    for image in range(len(originals)):
        digest = originals.digest(image)
        if digest is not None and (before := seen.setdefault(digest, image)) != image:
            yield before, image


def _roots(one: NDArray[np.int64], other: NDArray[np.int64]) -> dict[int, int]:
    """Union-find over pairs, `(n_pairs,)` each: the first item of each item's group."""
    parent: dict[int, int] = {}

    def root(item: int) -> int:
        parent.setdefault(item, item)
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for first, second in zip(one.tolist(), other.tolist(), strict=True):
        low, high = sorted((root(first), root(second)))
        parent[high] = low
    return {item: root(item) for item in parent}


def _duplicate(originals: SnapshotImages, image: int, like: int, cosine: float, ratio: float) -> Duplicate:
    item, digest = originals.item(image), originals.digest(image)
    return Duplicate(
        item_id=item.item_id,
        category=item.category,
        image=originals.path(image),
        like=originals.item(like).item_id,
        like_image=originals.path(like),
        cosine=round(cosine, 4),
        ratio=round(ratio, 4),
        same_file=digest is not None and digest == originals.digest(like),
    )
