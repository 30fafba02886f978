"""The partitions of an embedded catalogue, as a build makes them."""

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from indexer.data_quality.snapshot_images import SnapshotImages
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.partitions.build import plan_partitions, write_partition
from indexer.partitions.index_policy import IndexPolicy
from indexer.snapshots.published import PublishedSnapshot
from shared.catalogue.items import IndexedItem, Item
from shared.index.partition import Partition
from shared.manifest import CategoryEntry
from shared.vectors import Vectors, unit_rows


def make_partitions(
    embedded: EmbeddedCatalogue,
    index_views: str,
    directory: Path,
    published: PublishedSnapshot | None = None,
    policy: IndexPolicy | None = None,
) -> tuple[list[CategoryEntry], list[IndexedItem]]:
    """Plan and write every partition into a directory; what the manifest says of each, and the items."""
    planned, items = plan_partitions(embedded, index_views, published, policy)
    return [write_partition(one, embedded, directory, published) for one in planned], items


def open_partitions(
    embedded: EmbeddedCatalogue, index_views: str = "original"
) -> tuple[dict[str, Partition], list[IndexedItem]]:
    """The partitions of a catalogue from scratch, by category, in their order, and the items."""
    with tempfile.TemporaryDirectory() as directory:
        entries, items = make_partitions(embedded, index_views, Path(directory))
        return {entry.name: Partition.open(entry.name, Path(directory)) for entry in entries}, items


def make_originals(
    embeddings: Vectors, categories: Sequence[str], items: Sequence[str] = (), files: Sequence[str] = ()
) -> SnapshotImages:
    """Images with these embeddings in categories, `(n_images, dim)` and `n_images` names.

    `items` names the item that each shows, images of an item standing together, else each shows one of its own;
    `files` says what is in each one's file, else all differ.
    """
    ids = list(items) or [f"item {number}" for number in range(len(categories))]
    contents = list(files) or [f"file {number}" for number in range(len(categories))]
    known = list(dict.fromkeys(ids))
    shown = tuple(
        Item(item_id, categories[ids.index(item_id)], tuple(f"{i}.jpg" for i, one in enumerate(ids) if one == item_id))
        for item_id in known
    )
    image_items = np.array([known.index(item_id) for item_id in ids])
    digests = tuple(hashlib.sha256(content.encode()).digest() for content in contents)
    embedded = EmbeddedCatalogue(shown, image_items, digests, embeddings[:, np.newaxis], (), len(ids))
    partitions, indexed = open_partitions(embedded)
    return SnapshotImages.of(indexed, partitions)


def clusters(n: int, n_clusters: int, dim: int = 32, spread: float = 1.0, seed: int = 0) -> tuple[Vectors, list[str]]:
    """`n` unit rows around as many centres, and the name of each one's cluster: a, b, c…"""
    random = np.random.default_rng(seed)
    centres = unit_rows(random.normal(size=(n_clusters, dim)))
    names = random.integers(n_clusters, size=n)
    rows = centres[names] + spread * unit_rows(random.normal(size=(n, dim)))
    return unit_rows(rows), [chr(ord("a") + name) for name in names]
