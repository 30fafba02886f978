"""Build one partition a category, or take over the published one, and measure each against exact search.

1. Plan: which images go where, and which partitions the published snapshot has already.
2. Build each into the new snapshot: write its vectors as they come, and choose an index over them.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.files.durable_write import link_or_copy
from indexer.partitions.index_policy import IndexPolicy
from indexer.partitions.index_tuning import choose_index
from indexer.partitions.recall import ann_recall_at_10
from indexer.snapshots.published import PublishedSnapshot
from shared.catalogue.items import IndexedItem
from shared.index.index_kind import EXACT
from shared.index.partition import Partition
from shared.index.partition_files import index_files, partition_file, write_item_numbers
from shared.index.stored_vectors import StoredVectors
from shared.index.vector_file import write_float32
from shared.manifest import CategoryEntry
from shared.vectors import Vectors

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
        policy: which index it may have.
        published: the entry of the published snapshot, where that has this very index.
    """

    category: str
    images: NDArray[np.int64]
    n_views: int
    item_numbers: NDArray[np.int64]
    content: str
    policy: IndexPolicy
    published: CategoryEntry | None


def plan_partitions(
    embedded: EmbeddedCatalogue,
    index_views: str,
    published: PublishedSnapshot | None,
    policy: IndexPolicy | None = None,
) -> tuple[list[PlannedPartition], list[IndexedItem]]:
    """Put every item into the partition of its category.

    One that was made of the same images in the same order is taken over as it is.

    Args:
        embedded: the catalogue's views; none is read.
        index_views: `original` or `all`.
        published: the snapshot that is being replaced.
        policy: which indexes they may have; any by default.

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
    entries = {entry.name: entry for entry in published.manifest.categories} if published else {}
    planned = [
        _plan(embedded, np.array(images), index_views, policy or IndexPolicy(), category, entries.get(category))
        for category, images in sorted(members.items())
    ]
    items = [
        IndexedItem(item, number, tuple(rows[number]), tuple(digests[number]))
        for number, item in enumerate(embedded.items)
    ]
    return planned, items


def _plan(
    embedded: EmbeddedCatalogue,
    images: NDArray[np.int64],
    index_views: str,
    policy: IndexPolicy,
    category: str,
    entry: CategoryEntry | None,
) -> PlannedPartition:
    n_views = 1 if index_views == "original" else embedded.views.shape[1]
    item_numbers = np.tile(embedded.image_items[images], n_views)
    made_of = [embedded.recipe.encode(), index_views.encode(), *(embedded.digests[image] for image in images)]
    if index := policy.digest(len(item_numbers), embedded.views.shape[2]):
        made_of.append(index.encode())
    content = hashlib.sha256(b"\0".join(made_of)).hexdigest()
    same = entry if entry is not None and entry.content == content else None
    return PlannedPartition(category, images, n_views, item_numbers, content, policy, same)


def write_partition(
    planned: PlannedPartition, embedded: EmbeddedCatalogue, directory: Path, published: PublishedSnapshot | None
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
    # Where the published vectors are in Milvus, they are not in files here.
    here = published is not None and (published.paths.partitions / partition_file(planned.category)).exists()
    if planned.published is None or published is None or not here:
        return _build(planned, embedded, directory)
    for name in index_files(planned.category):
        if (published.paths.partitions / name).exists():
            link_or_copy(published.paths.partitions / name, directory / name)
    write_item_numbers(directory, planned.category, planned.item_numbers)
    # The rows' items are only numbered anew, which changes no neighbour.
    return replace(planned.published, items=len(np.unique(planned.item_numbers)))


def _build(planned: PlannedPartition, embedded: EmbeddedCatalogue, directory: Path) -> CategoryEntry:
    path = directory / partition_file(planned.category)
    write_float32(path, embedded.views.shape[2], _embeddings(planned, embedded))
    vectors = StoredVectors.open(path)
    tuned = choose_index(vectors, planned.policy)
    approximate = None if tuned is None else tuned.index
    kept = vectors.to_int8() if planned.policy.vectors == "int8" else vectors
    if kept is not vectors:
        kept.write(path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)
    partition = Partition(planned.category, kept, planned.item_numbers, approximate)
    partition.write_beside_vectors(directory)
    recall = ann_recall_at_10(partition, vectors)
    return CategoryEntry(
        name=planned.category,
        items=len(np.unique(planned.item_numbers)),
        images=len(planned.images),
        rows=len(planned.item_numbers),
        index_kind=EXACT if approximate is None else approximate.settings.kind,
        ann_recall_at_10=recall if tuned is None else min(recall, tuned.recall),
        content=planned.content,
        vectors=kept.encoding,
        search_parameter=None if approximate is None else approximate.settings.search_parameter,
        n_candidates=None if approximate is None else approximate.settings.n_candidates,
        search_p50_ms=None if tuned is None else round(tuned.p50_ms, 4),
    )


def _embeddings(planned: PlannedPartition, embedded: EmbeddedCatalogue) -> Iterator[Vectors]:
    """The rows of a partition, in pieces."""
    for view in range(planned.n_views):
        for start in range(0, len(planned.images), _CHUNK):
            yield np.ascontiguousarray(embedded.views[planned.images[start : start + _CHUNK]][:, view])
