"""The original images of a snapshot, and their embeddings, read from its partitions on demand."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shared.catalogue.items import IndexedItem, Item
from shared.index.category_search import CategorySearch
from shared.model.projection import Projection
from shared.vectors import Vectors

_BLOCK = 4096


@dataclass(frozen=True)
class SnapshotImages:
    """Every original image, in the order of the items; an image's number is its index here.

    Attributes:
        items: of the snapshot.
        image_items: `(n_images,)` int64, the index of each image's item in `items`.
        positions: `(n_images,)` int64, the index of each image among its item's images.
        rows: `(n_images,)` int64, the row of each in the partition of its category.
        columns: `(n_images,)` int64, the index of each one's category in `categories`.
        partitions: of the snapshot, by category.
        projection: of the embeddings in the partitions; they are read without it, as base embeddings.
    """

    items: Sequence[IndexedItem]
    image_items: NDArray[np.int64]
    positions: NDArray[np.int64]
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    partitions: Mapping[str, CategorySearch]
    projection: Projection | None = None

    @classmethod
    def of(
        cls,
        items: Iterable[IndexedItem],
        partitions: Mapping[str, CategorySearch],
        projection: Projection | None = None,
    ) -> "SnapshotImages":
        """Number the images of a snapshot; no embedding is read.

        Args:
            items: in any order.
            partitions: one for each category of the items.
            projection: of the embeddings in the partitions.
        """
        indexed_items = list(items)
        column = {category: number for number, category in enumerate(partitions)}
        images = [
            (number, position, row, column[indexed.item.category])
            for number, indexed in enumerate(indexed_items)
            for position, row in enumerate(indexed.rows)
        ]
        image_items, positions, rows, columns = np.array(images, dtype=np.int64).reshape(-1, 4).T.copy()
        return cls(indexed_items, image_items, positions, rows, columns, partitions, projection)

    def __len__(self) -> int:
        """The number of images."""
        return len(self.image_items)

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories, in the order of the partitions."""
        return tuple(self.partitions)

    def item(self, image: int) -> Item:
        """Return the item of an image."""
        item: Item = self.items[self.image_items[image]].item
        return item

    def path(self, image: int) -> str:
        """Return an image's path, relative to the catalogue's image root."""
        path: str = self.item(image).images[self.positions[image]]
        return path

    def digest(self, image: int) -> bytes | None:
        """Return the SHA-256 of an image's file; None if the snapshot does not have it."""
        digests = self.items[self.image_items[image]].digests
        return digests[self.positions[image]] if digests else None

    def embeddings(self, images: NDArray[np.int64]) -> Vectors:
        """`(n,)` image numbers → `(n, dim)` float32: base embeddings."""
        parts = list(self.partitions.values())
        result = np.empty((len(images), parts[0].dim), dtype=np.float32)
        columns = self.columns[images]
        for column in np.unique(columns):
            selected = columns == column
            result[selected] = parts[column].embeddings(self.rows[images[selected]])
        return result if self.projection is None or not len(result) else self.projection.invert(result)

    def blocks(self, step: int = 1) -> Iterator[tuple[NDArray[np.int64], Vectors]]:
        """Yield all images, or each `step`-th, in blocks: numbers `(n,)` and embeddings `(n, dim)` float32."""
        for start in range(0, len(self), _BLOCK * step):
            images = np.arange(start, min(start + _BLOCK * step, len(self)), step)
            yield images, self.embeddings(images)
