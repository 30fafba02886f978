"""Building of one partition per category, or reuse of the published one.

1. Plan: assign images to partitions, and find those that the published snapshot has already.
2. Build each into the new snapshot: write its vectors, choose an index, and measure its recall against exact search.
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
    """A partition of the new snapshot, before it is built.

    Attributes:
        category: its name.
        images: `(n_images,)` int64, the indices of its images in the catalogue.
        n_views: the number of indexed views of each.
        item_numbers: `(n_rows,)` int64, the item of each row: the originals' rows first, in the catalogue's order, then
            those of each further view.
        content: a digest of everything that its embeddings and its index depend on.
        policy: the indexes allowed.
        published: the entry of the published snapshot, if its partition is the same.
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
    """Assign every item to the partition of its category.

    A published partition of the same images in the same order is reused.

    Args:
        embedded: the catalogue's views; none is read.
        index_views: `original` or `all`.
        published: the snapshot that is being replaced.
        policy: the indexes allowed; any by default.

    Returns:
        The partitions, sorted by category, and the items with their rows in them.
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
    content = [embedded.recipe.encode(), index_views.encode(), *(embedded.digests[image] for image in images)]
    if index := policy.digest(len(item_numbers), embedded.views.shape[2]):
        content.append(index.encode())
    digest = hashlib.sha256(b"\0".join(content)).hexdigest()
    reusable = entry if entry is not None and entry.content == digest else None
    return PlannedPartition(category, images, n_views, item_numbers, digest, policy, reusable)


def write_partition(
    planned: PlannedPartition, embedded: EmbeddedCatalogue, directory: Path, published: PublishedSnapshot | None
) -> CategoryEntry:
    """Build or reuse a planned partition.

    Args:
        planned: the partition.
        embedded: the catalogue's views.
        directory: the directory of the new snapshot's partitions.
        published: the snapshot that is being replaced.

    Returns:
        Its entry in the manifest.
    """
    # Published vectors that are in Milvus are not in files.
    has_files = published is not None and (published.paths.partitions / partition_file(planned.category)).exists()
    if planned.published is None or published is None or not has_files:
        return _build(planned, embedded, directory)
    for name in index_files(planned.category):
        if (published.paths.partitions / name).exists():
            link_or_copy(published.paths.partitions / name, directory / name)
    write_item_numbers(directory, planned.category, planned.item_numbers)
    # Only the numbers of the rows' items change, which changes no neighbour.
    return replace(planned.published, items=len(np.unique(planned.item_numbers)))


def _build(planned: PlannedPartition, embedded: EmbeddedCatalogue, directory: Path) -> CategoryEntry:
    path = directory / partition_file(planned.category)
    write_float32(path, embedded.views.shape[2], _embeddings(planned, embedded))
    vectors = StoredVectors.open(path)
    tuned = choose_index(vectors, planned.policy)
    approximate = None if tuned is None else tuned.index
    stored = vectors.to_int8() if planned.policy.vectors == "int8" else vectors
    if stored is not vectors:
        stored.write(path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)
    partition = Partition(planned.category, stored, planned.item_numbers, approximate)
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
        vectors=stored.encoding,
        search_parameter=None if approximate is None else approximate.settings.search_parameter,
        n_candidates=None if approximate is None else approximate.settings.n_candidates,
        search_p50_ms=None if tuned is None else round(tuned.p50_ms, 4),
    )


def _embeddings(planned: PlannedPartition, embedded: EmbeddedCatalogue) -> Iterator[Vectors]:
    """Yield the rows of a partition, in parts."""
    for view in range(planned.n_views):
        for start in range(0, len(planned.images), _CHUNK):
            yield np.ascontiguousarray(embedded.views[planned.images[start : start + _CHUNK]][:, view])
