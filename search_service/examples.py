"""A few items of a category, to show what is in it."""

import numpy as np

from shared.catalogue import Item
from shared.snapshot import Snapshot


def example_items(snapshot: Snapshot, category: str, count: int) -> list[Item]:
    """Items spread evenly over the category, in the catalogue's order: the same ones as long as the snapshot is.

    Raises:
        UnknownCategory: there is none of this name.
    """
    numbers = snapshot.partition(category).item_numbers()
    rows = np.linspace(0, len(numbers) - 1, num=min(count, len(numbers))).round().astype(np.int64)
    chosen = list(dict.fromkeys(numbers[rows].tolist()))
    return [indexed.item for indexed in snapshot.items.by_numbers(chosen)]
