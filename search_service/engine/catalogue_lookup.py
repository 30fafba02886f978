"""Look-ups in the catalogue of the served snapshot: items, paths of their images, and examples."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shared.catalogue.items import Item
from shared.errors import ImageNotFound, SnapshotError
from shared.files.regular_file import open_regular
from shared.images.formats import HEAD_BYTES, image_format
from shared.snapshot.snapshot import Snapshot
from shared.text.shorten import quoted

MAX_EXAMPLES = 3000
"""Largest number of examples over all categories; each category has at least one."""

_ROWS_PER_EXAMPLE = 4


class CatalogueLookup:
    """Look-ups in an open snapshot. Thread-safe."""

    def __init__(self, snapshot: Snapshot, image_root: Path | None = None) -> None:
        """Look up in a snapshot.

        Args:
            snapshot: open.
            image_root: directory of the images; None for that of the manifest.
        """
        self._snapshot = snapshot
        self._is_pinned = image_root is not None
        self._image_root = (image_root or Path(snapshot.manifest.image_root)).resolve()

    def item(self, item_id: str) -> Item:
        """Return an item.

        Raises:
            UnknownItem: no item has this id.
        """
        return self._snapshot.items.by_id(item_id).item

    def image_path(self, item_id: str, position: int = 0) -> Path:
        """Return the path of an item's image, always inside the image root after resolving links.

        Without a configured root, the root is that of the manifest, which could be any directory. Then only files with
        the signature of an indexed image format are returned.

        Args:
            item_id: id of the item.
            position: of the image within the item, from 0.

        Raises:
            UnknownItem: no item has this id.
            ImageNotFound: the item has fewer images, or the file is missing.
        """
        images = self.item(item_id).images
        if not 0 <= position < len(images):
            raise ImageNotFound(f"item {quoted(item_id)} has no image {position}; the last one is {len(images) - 1}")
        missing = ImageNotFound(
            f"the image {quoted(images[position])} of item {quoted(item_id)} is missing from the image root"
        )
        try:
            path = (self._image_root / images[position]).resolve(strict=True)
        except (OSError, RuntimeError, ValueError):  # ValueError: a NUL; RuntimeError: a link loop, before Python 3.13
            raise missing from None
        if not path.is_relative_to(self._image_root) or not (path.is_file() if self._is_pinned else _is_image(path)):
            raise missing
        return path

    def examples(self, category: str, count: int) -> list[Item]:
        """Return items spread evenly over a category, in the catalogue's order; deterministic for a snapshot.

        Raises:
            UnknownCategory: the snapshot does not have this category.
        """
        return self.examples_of([category], count)[category]

    def examples_of(self, categories: Sequence[str], count: int) -> dict[str, list[Item]]:
        """Return examples of several categories, at most `MAX_EXAMPLES` altogether but at least one of each.

        Raises:
            UnknownCategory: the snapshot does not have one of them.
        """
        count = min(count, max(1, MAX_EXAMPLES // max(1, len(categories))))
        chosen = {category: self._spread(category, count) for category in categories}
        numbers = [number for of_category in chosen.values() for number in of_category]
        items = iter(self._snapshot.items.by_numbers(numbers))  # one look-up for all is faster
        return {category: [next(items).item for _ in of_category] for category, of_category in chosen.items()}

    def _spread(self, category: str, count: int) -> list[int]:
        """Return the numbers of items spread evenly over a category."""
        numbers = self._snapshot.partition(category).item_numbers()
        # More rows than examples: an item may have several rows.
        n_rows = min(_ROWS_PER_EXAMPLE * count, len(numbers))
        rows = np.linspace(0, len(numbers) - 1, num=n_rows).round().astype(np.int64)
        distinct = np.array(list(dict.fromkeys(numbers[rows].tolist())), dtype=np.int64)
        positions = np.linspace(0, len(distinct) - 1, num=min(count, len(distinct))).round().astype(np.int64)
        chosen: list[int] = distinct[positions].tolist()
        return chosen


def _is_image(path: Path) -> bool:
    """Return True for a regular file with the signature of an indexed image format."""
    try:
        with open_regular(path) as file:
            return image_format(file.read(HEAD_BYTES)) is not None
    except (OSError, SnapshotError):
        return False
