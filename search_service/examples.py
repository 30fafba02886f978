"""A few items of a category, to show what is in it."""

import numpy as np

from shared.catalogue import Item
from shared.snapshot import Snapshot

_ROWS_AN_EXAMPLE = 4


def example_items(snapshot: Snapshot, category: str, count: int) -> list[Item]:
    """Items spread evenly over the category, in the catalogue's order: the same ones as long as the snapshot is.

    Raises:
        UnknownCategory: there is none of this name.
    """
    numbers = snapshot.partition(category).item_numbers()
    # More rows than are wanted: an item may have several.
    rows = np.linspace(0, len(numbers) - 1, num=min(_ROWS_AN_EXAMPLE * count, len(numbers))).round().astype(np.int64)
    found = np.array(list(dict.fromkeys(numbers[rows].tolist())), dtype=np.int64)
    chosen = found[np.linspace(0, len(found) - 1, num=min(count, len(found))).round().astype(np.int64)]
    return [indexed.item for indexed in snapshot.items.by_numbers(chosen.tolist())]
