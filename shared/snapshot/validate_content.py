"""Validation of all content of an open snapshot: every item, image and vector."""

import numpy as np
from numpy.typing import NDArray

from shared.deadline import NO_DEADLINE, Deadline
from shared.errors import SnapshotError
from shared.index.partition import Partition
from shared.snapshot.data_directory import SnapshotPaths
from shared.snapshot.snapshot import Snapshot


def validate_content(snapshot: Snapshot, paths: SnapshotPaths, deadline: Deadline = NO_DEADLINE) -> None:
    """Check every item, image and vector: a million items take a few seconds.

    Without this check a fault does no harm: the request that meets it fails.

    Args:
        snapshot: opened.
        paths: of the snapshot.
        deadline: for all of it.

    Raises:
        SnapshotError: a value is invalid.
    """
    items = snapshot.items
    names = [entry.name for entry in snapshot.manifest.categories]
    items.validate(names, deadline)
    if snapshot.words is not None:
        snapshot.words.index.validate(deadline)
    columns = {name: column for column, name in enumerate(names)}
    categories = np.fromiter((columns[name] for name in items.categories()), np.int32, len(items))
    rows: NDArray[np.int64] = np.fromiter(items.rows(), np.dtype((np.int64, 2)))
    for column, name in enumerate(names):
        partition = snapshot.partitions[name]
        if isinstance(partition, Partition):
            partition.validate(items.n_numbers, all_vectors=True)
        if (categories[partition.item_numbers()] != column).any():
            raise SnapshotError(f"the partition {name!r} has items of another category")
        deadline.check(f"validating {paths.root}")
    _validate_images(paths, rows, categories, np.array([snapshot.partitions[name].n_rows for name in names]))


def _validate_images(
    paths: SnapshotPaths, rows: NDArray[np.int64], categories: NDArray[np.int32], n_rows: NDArray[np.int64]
) -> None:
    """Check that every image belongs to an item, and is in a row of the partition of the item's category.

    Args:
        paths: for messages.
        rows: `(n_images, 2)` int64, the item's number and the row.
        categories: `(n_items,)` int32, the column of each item's category.
        n_rows: `(n_categories,)`, of each partition.
    """
    numbers, within = rows.T
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(categories):
        raise SnapshotError(f"{paths.items} has images of items that do not exist")
    if (np.bincount(numbers, minlength=len(categories)) == 0).any():
        raise SnapshotError(f"{paths.items} has an item without an image")
    if ((within < 0) | (within >= n_rows[categories[numbers]])).any():
        raise SnapshotError(f"{paths.items} has an image in a row beyond its partition")
