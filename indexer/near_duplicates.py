"""Items that are in the catalogue twice: the same file, or nearly the same picture.

1. Pair images of different items that are the same file, or whose cosine is at least a threshold.
2. Join pairs into groups of items (union-find).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.neighbours import Neighbours
from indexer.originals import Originals

# Chosen by benchmarks/near_duplicates.py; docs/benchmarks.md.
MIN_COSINE = 0.95


@dataclass(frozen=True)
class Duplicate:
    """An item of a group, and what it is most like there.

    Attributes:
        item_id: the item.
        category: its label.
        image: the path of the image that the pair was found by.
        like: the id of the other item.
        like_image: the path of its image.
        cosine: of the two images.
        same_file: whether they are the very same file.
    """

    item_id: str
    category: str
    image: str
    like: str
    like_image: str
    cosine: float
    same_file: bool


@dataclass(frozen=True)
class Group:
    """Items that are near-duplicates of each other, directly or through others of the group."""

    items: tuple[Duplicate, ...]

    @property
    def categories(self) -> tuple[str, ...]:
        """Their labels, sorted; more than one contradict each other."""
        return tuple(sorted({one.category for one in self.items}))

    @property
    def highest_cosine(self) -> float:
        """Of the nearest pair."""
        return max(one.cosine for one in self.items)


@dataclass(frozen=True)
class NearDuplicates:
    """The groups, those over several categories first, then by their nearest pair.

    Attributes:
        min_cosine: from which on a pair counts.
        exact: whether every image was compared with every other.
        images: how many were looked at.
        groups: of two items or more.
    """

    min_cosine: float
    exact: bool
    images: int
    groups: tuple[Group, ...]

    @property
    def contradictions(self) -> int:
        """How many groups are over several categories."""
        return sum(len(group.categories) > 1 for group in self.groups)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        groups = [
            {"categories": group.categories, "items": [asdict(one) for one in group.items]} for group in self.groups
        ]
        return {"min_cosine": self.min_cosine, "exact": self.exact, "images": self.images, "groups": groups}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> "NearDuplicates":
        """What `as_dict` made."""
        groups = tuple(Group(tuple(Duplicate(**one) for one in group["items"])) for group in told["groups"])
        return cls(told["min_cosine"], told["exact"], told["images"], groups)


def find_near_duplicates(originals: Originals, near: Neighbours, min_cosine: float = MIN_COSINE) -> NearDuplicates:
    """Find items that are in the catalogue more than once.

    Args:
        originals: the images.
        near: their nearest images.
        min_cosine: from which on two images are the same picture.
    """
    one, other, cosines = _pairs(originals, near, min_cosine)
    best = _nearest(originals, one, other, cosines)
    members: dict[int, list[int]] = {}
    for item, root in _roots(originals.image_items[one].tolist(), originals.image_items[other].tolist()).items():
        members.setdefault(root, []).append(item)
    groups = [Group(tuple(_duplicate(originals, *best[item]) for item in sorted(items))) for items in members.values()]
    groups.sort(key=lambda group: (len(group.categories) == 1, -group.highest_cosine, group.items[0].item_id))
    return NearDuplicates(min_cosine, near.exact, len(originals), tuple(groups))


def _pairs(
    originals: Originals, near: Neighbours, min_cosine: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Pairs of images of different items, each pair both ways, and their cosines; all `(n_pairs,)`."""
    images, places = np.nonzero(near.cosines >= min_cosine)
    same = np.array(list(_same_files(originals)), dtype=np.int64).reshape(-1, 2)
    one = np.concatenate([images, same[:, 0]])
    other = np.concatenate([near.images[images, places], same[:, 1]])
    cosines = np.concatenate([near.cosines[images, places], np.ones(len(same), dtype=np.float32)])
    two_items = originals.image_items[one] != originals.image_items[other]
    one, other, cosines = one[two_items], other[two_items], cosines[two_items]
    return np.concatenate([one, other]), np.concatenate([other, one]), np.concatenate([cosines, cosines])


def _same_files(originals: Originals) -> Iterator[tuple[int, int]]:
    """Each image whose very file was seen before, and the one that it was seen as; of however many there are."""
    seen: dict[bytes, int] = {}
    for image in range(len(originals)):
        digest = originals.digest(image)
        if digest is not None and (before := seen.setdefault(digest, image)) != image:
            yield before, image


def _nearest(
    originals: Originals, one: NDArray[np.int64], other: NDArray[np.int64], cosines: NDArray[np.float32]
) -> dict[int, tuple[int, int, float]]:
    """Of every item in a pair: its image in the nearest pair, the other image, and their cosine."""
    order = np.lexsort((other, one, -cosines))[::-1]  # the nearest last, so that it stays
    told = zip(one[order].tolist(), other[order].tolist(), cosines[order].tolist(), strict=True)
    return dict(zip(originals.image_items[one[order]].tolist(), told, strict=True))


def _roots(one: Iterable[int], other: Iterable[int]) -> dict[int, int]:
    """Union-find: each item of the pairs, and the first item of its group."""
    parent: dict[int, int] = {}

    def root(item: int) -> int:
        parent.setdefault(item, item)
        while parent[item] != item:
            parent[item] = parent[parent[item]]
            item = parent[item]
        return item

    for first, second in zip(one, other, strict=True):
        low, high = sorted((root(first), root(second)))
        parent[high] = low
    return {item: root(item) for item in parent}


def _duplicate(originals: Originals, image: int, like: int, cosine: float) -> Duplicate:
    item, digest = originals.item(image), originals.digest(image)
    return Duplicate(
        item_id=item.item_id,
        category=item.category,
        image=originals.path(image),
        like=originals.item(like).item_id,
        like_image=originals.path(like),
        cosine=round(cosine, 4),
        same_file=digest is not None and digest == originals.digest(like),
    )
