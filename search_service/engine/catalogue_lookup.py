"""What the catalogue of the served snapshot has: items, where their images lie, examples. Nothing is searched."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shared.catalogue.items import Item
from shared.errors import ImageNotFound, SnapshotError
from shared.files.regular_file import open_regular
from shared.images.formats import HEAD_BYTES, image_format
from shared.snapshot.snapshot import Snapshot
from shared.text.shorten import quoted

MOST_EXAMPLES = 3000
"""Of all categories together; one of each category in any case."""

_ROWS_AN_EXAMPLE = 4


class CatalogueLookup:
    """Safe to use from any number of threads, as long as the snapshot is open."""

    def __init__(self, snapshot: Snapshot, image_root: Path | None = None) -> None:
        """Look up in a snapshot.

        Args:
            snapshot: open.
            image_root: where the images lie, if not where they were indexed.
        """
        self._snapshot = snapshot
        self._is_pinned = image_root is not None
        self._image_root = (image_root or Path(snapshot.manifest.image_root)).resolve()

    def item(self, item_id: str) -> Item:
        """An item.

        Raises:
            UnknownItem: there is none of this id.
        """
        return self._snapshot.items.by_id(item_id).item

    def image_path(self, item_id: str, position: int = 0) -> Path:
        """Where an item's image lies: always inside the image root, also behind links.

        The manifest names the root unless the service has another: whoever wrote it could name any directory. So
        then only a file that begins as those do that are indexed is handed out.

        Args:
            item_id: whose image.
            position: which of its images, from 0.

        Raises:
            UnknownItem: there is none of this id.
            ImageNotFound: it has fewer images, or the file is gone.
        """
        images = self.item(item_id).images
        if not 0 <= position < len(images):
            raise ImageNotFound(f"the item {quoted(item_id)} has {len(images)} images; there is no image {position}")
        lost = ImageNotFound(
            f"the image {quoted(images[position])} of item {quoted(item_id)} is not where the catalogue had it"
        )
        try:
            path = (self._image_root / images[position]).resolve(strict=True)
        except (
            OSError,
            RuntimeError,
            ValueError,
        ):  # a NUL in the path; until Python 3.12, a link to itself is a RuntimeError
            raise lost from None
        if not path.is_relative_to(self._image_root) or not (path.is_file() if self._is_pinned else _is_image(path)):
            raise lost
        return path

    def examples(self, category: str, count: int) -> list[Item]:
        """Items spread evenly over a category, in the catalogue's order: the same ones as long as the snapshot is.

        Raises:
            UnknownCategory: there is none of this name.
        """
        return self.examples_of([category], count)[category]

    def examples_of(self, categories: Sequence[str], count: int) -> dict[str, list[Item]]:
        """The same for several, by category; fewer of each where they would be more than `MOST_EXAMPLES`.

        Raises:
            UnknownCategory: there is none of such a name.
        """
        count = min(count, max(1, MOST_EXAMPLES // max(1, len(categories))))
        chosen = {category: self._spread(category, count) for category in categories}
        numbers = [number for of_category in chosen.values() for number in of_category]
        items = iter(self._snapshot.items.by_numbers(numbers))  # at once: a look-up each would take long
        return {category: [next(items).item for _ in of_category] for category, of_category in chosen.items()}

    def _spread(self, category: str, count: int) -> list[int]:
        """The numbers of such items."""
        numbers = self._snapshot.partition(category).item_numbers()
        # More rows than are needed: an item may have several.
        n_rows = min(_ROWS_AN_EXAMPLE * count, len(numbers))
        rows = np.linspace(0, len(numbers) - 1, num=n_rows).round().astype(np.int64)
        distinct = np.array(list(dict.fromkeys(numbers[rows].tolist())), dtype=np.int64)
        positions = np.linspace(0, len(distinct) - 1, num=min(count, len(distinct))).round().astype(np.int64)
        chosen: list[int] = distinct[positions].tolist()
        return chosen


def _is_image(path: Path) -> bool:
    """Whether it is a regular file of a format that is indexed, as far as its first bytes tell."""
    try:
        with open_regular(path) as file:
            return image_format(file.read(HEAD_BYTES)) is not None
    except (OSError, SnapshotError):
        return False
