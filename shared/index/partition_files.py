"""The files of a partition: their names, and the item numbers of its rows."""

import hashlib
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.errors import SnapshotError
from shared.files.npy_file import read_vector


def partition_file(category: str) -> str:
    """The file name of a category's vectors."""
    return f"{file_stem(category)}.faiss"


def rows_file(category: str) -> str:
    """The file name of the item numbers of a category's rows."""
    return f"{file_stem(category)}.rows.npy"


def approximate_files(stem: str) -> tuple[str, str, str]:
    """The file names of an approximate index: the index, the rows of its positions, and its settings."""
    return f"{stem}.approximate.faiss", f"{stem}.approximate.rows.npy", f"{stem}.approximate.json"


def index_files(category: str) -> list[str]:
    """All files that a category's index may have; those after the first only with an approximate index."""
    return [partition_file(category), *approximate_files(file_stem(category))]


def is_approximate(name: str) -> bool:
    """Return True if a file of this name belongs to an approximate index."""
    return any(name.endswith(end) for end in approximate_files(""))


def file_stem(category: str) -> str:
    """The stem of a category's file names: the category if any file system accepts it, else a part of it and a hash.

    Categories come from catalogues: they may contain slashes, dots or emoji, differ in case alone, or be very long. The
    dot before the hash occurs in no category that is its own stem, so stems never collide.
    """
    plain = re.sub(r"[^a-z0-9_-]+", "-", category.lower()).strip("-")[:60]
    if plain == category:
        return plain
    return f"{plain or 'category'}.{hashlib.sha256(category.encode()).hexdigest()[:12]}"


def write_item_numbers(directory: Path, category: str, item_numbers: NDArray[np.int64]) -> None:
    """Write the item of each row of a partition, `(n_rows,)` int64, beside its vectors."""
    np.save(directory / rows_file(category), item_numbers)


def read_item_numbers(directory: Path, category: str) -> NDArray[np.int64]:
    """Read the array that `write_item_numbers` wrote; large ones are mapped.

    Raises:
        SnapshotError: it has another dtype or shape.
        ValueError: it is not a `.npy` file.
        OSError: it can't be read.
    """
    return read_vector(directory / rows_file(category), (np.int64,), directory.parent.parent)


def validate_item_numbers(category: str, item_numbers: NDArray[np.int64], n_items: int) -> None:
    """Check that every row shows an item of the snapshot.

    Args:
        category: for the message.
        item_numbers: `(n_rows,)` int64, the item of each row.
        n_items: number of items in the snapshot; they are numbered from 0.

    Raises:
        SnapshotError: a number is out of range.
    """
    if len(item_numbers) and not 0 <= item_numbers.min() <= item_numbers.max() < n_items:
        numbers = f"{item_numbers.min()} to {item_numbers.max()}"
        raise SnapshotError(f"the partition {category!r} has item numbers {numbers}; expected 0 to {n_items - 1}")
