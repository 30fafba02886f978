"""Division of a catalogue's images into folds, whole groups at a time.

1. An image that was in a fold in the published snapshot stays there, so that two builds are compared on images that
   neither has learned.
2. A new image goes where the images are that it is grouped with: those of its item, then the nearest linked ones.
3. New groups are assigned, the largest first, each to the fold that has the fewest images of the category.

A group that is nearly all of its category is divided by items: a head that has learned nothing else of the category
could tell nothing of it. A category that is all in one fold after that, such as one of a single item, is in no fold:
all heads learn it, and none is evaluated on it.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.groups.linking import ImageGroups

N_FOLDS = 5
NO_FOLD = -1
_MAX_SHARE_OF_CATEGORY = 0.9


@dataclass(frozen=True)
class Folds:
    """The folds of a catalogue's images.

    Attributes:
        numbers: `(n_images,)` int64, 0 to `N_FOLDS` - 1, or `NO_FOLD`.
        units: `(n_images,)` int64, the same for images that stay together: of one group, or item where it was divided.
        divided: the columns of the categories of which one group was divided by items.
    """

    numbers: NDArray[np.int64]
    units: NDArray[np.int64]
    divided: tuple[int, ...]


def assign_folds(
    groups: ImageGroups,
    image_items: NDArray[np.int64],
    item_ids: Sequence[str],
    columns: NDArray[np.int64],
    known: NDArray[np.int64],
    seed: int,
) -> Folds:
    """Assign every image to a fold.

    Args:
        groups: of the images.
        image_items: `(n_images,)`, the number of each image's item.
        item_ids: by the item's number.
        columns: `(n_images,)`, the number of each image's category.
        known: `(n_images,)`, the fold of images that have one already; `NO_FOLD` for the others.
        seed: of the order of groups of equal size.
    """
    units, divided = divided_groups(groups.numbers, image_items, columns)
    folds = _joined(known, groups, image_items, units)
    _assign(folds, units, [item_ids[item] for item in image_items], columns, seed)
    for column in np.unique(columns):
        own = columns == column
        if len(np.unique(folds[own])) == 1:
            folds[own] = NO_FOLD
    return Folds(folds, units, divided)


def divided_groups(
    numbers: NDArray[np.int64], image_items: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.int64], tuple[int, ...]]:
    """Divide by items the groups that are nearly all of their category.

    Args:
        numbers: `(n_images,)`, of the group of each image.
        image_items: `(n_images,)`, the number of each one's item.
        columns: `(n_images,)`, the number of each one's category.

    Returns:
        `(n_images,)` int64, the same for images that stay together, and the columns of the categories of the others.
    """
    units = numbers.copy()
    first_of_item = np.searchsorted(image_items, image_items)  # images of an item are adjacent, and items ascend
    in_category = np.bincount(columns)
    divided = []
    groups, counts = np.unique(numbers, return_counts=True)
    for group in groups[counts > _MAX_SHARE_OF_CATEGORY * in_category[columns[groups]]]:
        own = numbers == group
        if len(np.unique(image_items[own])) > 1:
            units[own] = first_of_item[own]
            divided.append(int(columns[group]))
    return units, tuple(sorted(set(divided)))


def _joined(
    known: NDArray[np.int64], groups: ImageGroups, image_items: NDArray[np.int64], units: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The known folds, and those of images that are grouped with known ones."""
    folds = known.copy()
    is_known = known != NO_FOLD
    if not is_known.any():
        return folds
    unknown = np.flatnonzero(~is_known)
    beside = is_known & np.isin(image_items, image_items[unknown])
    of_items = dict(zip(image_items[beside][::-1].tolist(), known[beside][::-1].tolist(), strict=True))
    beside = is_known & np.isin(units, units[unknown])
    of_units: dict[int, Counter[int]] = {}
    for unit, fold in zip(units[beside].tolist(), known[beside].tolist(), strict=True):
        of_units.setdefault(unit, Counter())[fold] += 1
    for image in unknown.tolist():
        linked = groups.linked(image)
        nearest = known[linked[is_known[linked]]]
        if (own := of_items.get(int(image_items[image]))) is not None:
            folds[image] = own
        elif len(nearest):
            folds[image] = nearest[0]
        elif common := of_units.get(int(units[image])):
            folds[image] = min(common, key=lambda fold: (-common[fold], fold))
    return folds


def _assign(
    folds: NDArray[np.int64], units: NDArray[np.int64], ids: Sequence[str], columns: NDArray[np.int64], seed: int
) -> None:
    """Fill in the folds of the units that have none, category by category."""
    images = np.flatnonzero(folds == NO_FOLD)
    _, first, inverse, counts = np.unique(units[images], return_index=True, return_inverse=True, return_counts=True)
    smallest = [ids[image] for image in images[first]]
    for image, unit in zip(images.tolist(), inverse.tolist(), strict=True):
        smallest[unit] = min(smallest[unit], ids[image])
    ranks = np.array([_rank(item_id, seed) for item_id in smallest], dtype=np.uint64)
    own_columns = columns[images[first]]
    sizes = np.zeros((int(columns.max(initial=-1)) + 1, N_FOLDS), dtype=np.int64)
    in_fold = folds != NO_FOLD
    np.add.at(sizes, (columns[in_fold], folds[in_fold]), 1)
    totals = sizes.sum(axis=0)
    chosen = np.zeros(len(counts), dtype=np.int64)
    for unit in np.lexsort((ranks, -counts, own_columns)):
        own = sizes[own_columns[unit]]
        fold = np.lexsort((totals, own))[0]
        chosen[unit] = fold
        own[fold] += counts[unit]
        totals[fold] += counts[unit]
    folds[images] = chosen[inverse]


def _rank(item_id: str, seed: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {item_id}".encode()).digest()[:8], "big")
