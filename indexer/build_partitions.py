"""Build one partition a category, or take over the published one, and measure each against exact search.

1. Plan: which images go where, and which partitions the published snapshot has already.
2. Build each into the new snapshot; one at a time is in memory.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexer.embed import EmbeddedCatalogue
from indexer.link import link_or_copy
from indexer.published import Published
from shared.catalogue import IndexedItem
from shared.manifest import CategoryEntry
from shared.partition import INDEX_KIND, Partition, partition_file, write_rows
from shared.vectors import Vectors

_SAMPLE = 64
_TIE = 1e-6
_CHUNK = 4096


@dataclass(frozen=True)
class PlannedPartition:
    """A partition of the new snapshot, before it is made.

    Attributes:
        category: its name.
        images: `(n_images,)`, the places in the catalogue of the images that it holds.
        n_views: how many views of each are indexed.
        item_numbers: `(n_rows,)` int64, the item that each row shows: the originals' rows first, in the catalogue's
            order, then those of each further view.
        content: a digest of what its embeddings are made of.
        published: the entry of the published snapshot, where that has this very index.
    """

    category: str
    images: NDArray[np.int64]
    n_views: int
    item_numbers: NDArray[np.int64]
    content: str
    published: CategoryEntry | None


def plan_partitions(
    embedded: EmbeddedCatalogue, index_views: str, published: Published | None
) -> tuple[list[PlannedPartition], list[IndexedItem]]:
    """Put every item into the partition of its category.

    One that was made of the same images in the same order is taken over as it is.

    Args:
        embedded: the catalogue's views; none is read.
        index_views: `original` or `all`.
        published: the snapshot that is being replaced.

    Returns:
        The partitions in the order of their categories' names, and the items with their rows in them.
    """
    members: dict[str, list[int]] = {}
    rows: list[list[int]] = [[] for _ in embedded.items]
    digests: list[list[bytes]] = [[] for _ in embedded.items]
    for image, number in enumerate(embedded.image_items.tolist()):
        images = members.setdefault(embedded.items[number].category, [])
        rows[number].append(len(images))
        digests[number].append(embedded.digests[image])
        images.append(image)
    planned = [
        _plan(category, embedded, np.array(members[category]), index_views, published) for category in sorted(members)
    ]
    items = [
        IndexedItem(item, number, tuple(rows[number]), tuple(digests[number]))
        for number, item in enumerate(embedded.items)
    ]
    return planned, items


def _plan(
    category: str, embedded: EmbeddedCatalogue, images: NDArray[np.int64], index_views: str, published: Published | None
) -> PlannedPartition:
    n_views = 1 if index_views == "original" else embedded.views.shape[1]
    item_numbers = np.tile(embedded.image_items[images], n_views)
    made_of = [embedded.recipe.encode(), index_views.encode(), *(embedded.digests[image] for image in images)]
    content = hashlib.sha256(b"\0".join(made_of)).hexdigest()
    entry = published.entry(category) if published else None
    same = entry if entry is not None and entry.content == content else None
    return PlannedPartition(category, images, n_views, item_numbers, content, same)


def write_partition(
    planned: PlannedPartition, embedded: EmbeddedCatalogue, directory: Path, published: Published | None
) -> CategoryEntry:
    """Make a planned partition in the directory of a new snapshot's partitions.

    Args:
        planned: it.
        embedded: the catalogue's views.
        directory: where its files go.
        published: the snapshot that is being replaced.

    Returns:
        What the manifest says of it.
    """
    if planned.published is not None and published is not None:
        name = partition_file(planned.category)
        link_or_copy(published.paths.partitions / name, directory / name)
        write_rows(directory, planned.category, planned.item_numbers)
        # The rows' items are only numbered anew, which changes no neighbour.
        recall = planned.published.ann_recall_at_10
    else:
        partition = Partition.of_pieces(planned.category, _embeddings(planned, embedded), planned.item_numbers)
        partition.write(directory)
        recall = ann_recall_at_10(partition)
    return CategoryEntry(
        name=planned.category,
        items=len(np.unique(planned.item_numbers)),
        images=len(planned.images),
        rows=len(planned.item_numbers),
        index_kind=INDEX_KIND,
        ann_recall_at_10=recall,
        content=planned.content,
    )


def _embeddings(planned: PlannedPartition, embedded: EmbeddedCatalogue) -> Iterator[Vectors]:
    """The rows of a partition, in pieces."""
    for view in range(planned.n_views):
        for start in range(0, len(planned.images), _CHUNK):
            yield np.ascontiguousarray(embedded.views[planned.images[start : start + _CHUNK]][:, view])


def ann_recall_at_10(partition: Partition) -> float:
    """The share of the exact ten nearest items that the index finds, over a sample of its own rows as queries.

    Exact search is plain NumPy here, so that it shares nothing with the index. Items as near as the tenth count as
    right, whichever of them the index returned.
    """
    sample = np.unique(np.linspace(0, partition.n_rows - 1, _SAMPLE).astype(int))
    queries = partition.embeddings(sample)
    scores = np.empty((len(queries), partition.n_rows), dtype=np.float32)
    for start in range(0, partition.n_rows, _CHUNK):
        rows = range(start, min(start + _CHUNK, partition.n_rows))
        scores[:, start : rows.stop] = queries @ partition.embeddings(rows).T
    numbers, places = np.unique(partition.item_numbers(), return_inverse=True)
    shares = [_recall(partition, query, numbers, places, own) for query, own in zip(queries, scores, strict=True)]
    return float(np.mean(shares))


def _recall(
    partition: Partition,
    query: Vectors,
    numbers: NDArray[np.int64],
    places: NDArray[np.intp],
    scores: NDArray[np.float32],
) -> float:
    """Of one query: `scores` of all rows, whose items are `numbers[places]`."""
    exact = np.full(len(numbers), -np.inf, dtype=np.float32)
    np.maximum.at(exact, places, scores)
    wanted = min(10, len(numbers))
    tenth = np.partition(exact, -wanted)[-wanted]
    found = [hit.item_number for hit in partition.search(query[np.newaxis], 10)[0]]
    return float(np.sum(exact[np.searchsorted(numbers, found)] >= tenth - _TIE)) / wanted
