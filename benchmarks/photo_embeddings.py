"""Embeddings of photos and of what becomes of them, as the service would make them of uploads."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from benchmarks.own_process import export_lite0, run_apart
from benchmarks.photos import Photo
from indexer.originals import Originals
from shared.catalogue import IndexedItem, Item
from shared.embedder import LiteRtEmbedder
from shared.images import ImageLimits, decode_image, to_pixels
from shared.partition import Partition
from shared.vectors import Vectors

_THREADS = os.cpu_count() or 1


def open_lite0() -> LiteRtEmbedder:
    """EfficientNet-Lite0 as a snapshot has it, without tuning."""
    return LiteRtEmbedder(run_apart(export_lite0), _THREADS)


def embed_photos(
    embedder: LiteRtEmbedder, photos: Sequence[Photo], change: Callable[[Path], bytes] = Path.read_bytes
) -> Vectors:
    """`(n_photos, dim)` float32, unit rows, of what a change makes of each photo."""

    def embed(photo: Photo) -> Vectors:
        image = decode_image(change(photo.path), ImageLimits())
        return embedder.embed(to_pixels(image)[np.newaxis])

    with ThreadPoolExecutor(_THREADS) as pool:
        return np.concatenate(list(pool.map(embed, photos)))


def as_originals(embeddings: Vectors, photos: Sequence[Photo], categories: Sequence[str]) -> Originals:
    """What a snapshot would hold of these photos, each an item, under categories of the caller's choice."""
    partitions, rows = {}, np.zeros(len(photos), dtype=np.int64)
    labels = np.array(categories)
    for category in sorted(set(categories)):
        members = np.flatnonzero(labels == category)
        partitions[category] = Partition.build(category, embeddings[members], members)
        rows[members] = np.arange(len(members))
    items = (
        IndexedItem(Item(photo.path.name, category, (str(photo.path),)), number, (int(rows[number]),))
        for number, (photo, category) in enumerate(zip(photos, categories, strict=True))
    )
    return Originals.of(items, partitions)
