"""Build one partition a category, or take over the published one, and measure each against exact search."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.embed import EmbeddedCatalogue
from indexer.published import Published
from indexer.report import Stage
from shared.catalogue import IndexedItem
from shared.partition import Partition
from shared.vectors import Vectors

_SAMPLE = 64
_TIE = 1e-6


@dataclass(frozen=True)
class BuiltPartition:
    """A partition for the new snapshot.

    Attributes:
        partition: it.
        content: a digest of what its embeddings were made of.
        taken_over: whether the published snapshot has this very index.
    """

    partition: Partition
    content: str
    taken_over: bool


def build_partitions(
    embedded: EmbeddedCatalogue, index_views: str, published: Published | None, stage: Stage
) -> tuple[list[BuiltPartition], list[IndexedItem]]:
    """Put every item's embeddings into the partition of its category.

    A partition holds the originals' rows first, in the catalogue's order, then with `index_views="all"` the augmented
    copies'. One that was made of the same images in the same order is taken over as it is.

    Args:
        embedded: the catalogue's views.
        index_views: `original` or `all`.
        published: the snapshot that is being replaced.
        stage: is told of each category.

    Returns:
        The partitions in the order of their categories' names, and the items with their rows in them.
    """
    labels = np.array([item.category for item in embedded.items], dtype=object)[embedded.image_items]
    rows: list[list[int]] = [[] for _ in embedded.items]
    digests: list[list[bytes]] = [[] for _ in embedded.items]
    built: list[BuiltPartition] = []
    for category in sorted({item.category for item in embedded.items}):
        images = np.flatnonzero(labels == category)
        for row, image in enumerate(images):
            rows[embedded.image_items[image]].append(row)
            digests[embedded.image_items[image]].append(embedded.digests[image])
        built.append(_build(category, embedded, images, index_views, published))
        stage.advance()
    items = [
        IndexedItem(item, number, tuple(rows[number]), tuple(digests[number]))
        for number, item in enumerate(embedded.items)
    ]
    return built, items


def _build(
    category: str,
    embedded: EmbeddedCatalogue,
    images: NDArray[np.intp],
    index_views: str,
    published: Published | None,
) -> BuiltPartition:
    n_views = 1 if index_views == "original" else embedded.views.shape[1]
    item_numbers = np.tile(embedded.image_items[images], n_views)
    made_of = [embedded.recipe.encode(), index_views.encode(), *(embedded.digests[image] for image in images)]
    content = hashlib.sha256(b"\0".join(made_of)).hexdigest()
    same = published.partition(category, content) if published else None
    if same is not None:
        return BuiltPartition(same.renumbered(item_numbers), content, taken_over=True)
    embeddings = np.concatenate([embedded.views[images, view] for view in range(n_views)])
    return BuiltPartition(Partition.build(category, embeddings, item_numbers), content, taken_over=False)


def ann_recall_at_10(partition: Partition) -> float:
    """The share of the exact ten nearest items that the index finds, over a sample of its own rows as queries.

    Exact search is plain NumPy here, so that it shares nothing with the index. Items as near as the tenth count as
    right, whichever of them the index returned.
    """
    every_row = partition.embeddings(range(partition.n_rows))
    item_numbers = partition.item_numbers()
    sample = np.unique(np.linspace(0, partition.n_rows - 1, _SAMPLE).astype(int))
    shares = [
        _recall(partition, every_row[row], _best_by_item(every_row @ every_row[row], item_numbers)) for row in sample
    ]
    return float(np.mean(shares))


def _best_by_item(scores: NDArray[np.float32], item_numbers: NDArray[np.int64]) -> dict[int, float]:
    numbers, places = np.unique(item_numbers, return_inverse=True)
    best = np.full(len(numbers), -np.inf)
    np.maximum.at(best, places, scores)
    return dict(zip(numbers.tolist(), best.tolist(), strict=True))


def _recall(partition: Partition, query: Vectors, exact: dict[int, float]) -> float:
    found = partition.search(query[np.newaxis], 10)[0]
    tenth = sorted(exact.values(), reverse=True)[min(10, len(exact)) - 1]
    return sum(exact[hit.item_number] >= tenth - _TIE for hit in found) / min(10, len(exact))
