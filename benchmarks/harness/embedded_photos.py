"""Photos with their embeddings, an item a photo, as the indexer's stages take them; and those of changed photos."""

import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.own_process import export_lite0, run_apart
from benchmarks.harness.photos import Photo, write_catalogue
from indexer.console.progress import SilentReporter
from indexer.data_quality.snapshot_images import Originals
from indexer.embedding.augmentation import Augmentation
from indexer.embedding.embed_catalogue import EmbeddedCatalogue, embed_catalogue
from indexer.embedding.embed_image import Embedding
from shared.catalogue.items import IndexedItem, Item
from shared.images.decode import ImageLimits, decode_image, to_pixels
from shared.index.partition import Partition
from shared.model.embedder import Embedder, LiteRtEmbedder
from shared.vectors import Vectors

THREADS = os.cpu_count() or 1


def open_lite0() -> LiteRtEmbedder:
    """EfficientNet-Lite0 as a snapshot has it, without tuning."""
    return LiteRtEmbedder(run_apart(export_lite0), THREADS)


def embed_photos(photos: Sequence[Photo], root: Path, embedder: Embedder, copies: int) -> EmbeddedCatalogue:
    """Embed photos.

    Args:
        photos: all below `root`.
        root: what item ids are relative to.
        embedder: with an interpreter for each of `THREADS`.
        copies: augmented copies a photo.
    """
    with tempfile.TemporaryDirectory(prefix="parecido-benchmark-") as directory, SilentReporter().stage("") as stage:
        catalogue = write_catalogue(photos, root, Path(directory, "catalogue.jsonl"))
        how = Embedding(embedder, Augmentation(copies=copies), ImageLimits(), THREADS)
        return embed_catalogue(catalogue, how, stage)


def some_of(embedded: EmbeddedCatalogue, places: NDArray[np.int64]) -> EmbeddedCatalogue:
    """Some of the photos, as a catalogue of their own."""
    return replace(
        embedded,
        items=tuple(embedded.items[place] for place in places),
        image_items=np.arange(len(places)),
        digests=tuple(embedded.digests[place] for place in places),
        views=embedded.views[places],
    )


def embed_uploads(
    embedder: Embedder, photos: Sequence[Photo], change: Callable[[Path], bytes] = Path.read_bytes
) -> Vectors:
    """`(n_photos, dim)` float32, unit rows, of what a change makes of each photo."""

    def embed(photo: Photo) -> Vectors:
        image = decode_image(change(photo.path), ImageLimits())
        return embedder.embed(to_pixels(image)[np.newaxis])

    with ThreadPoolExecutor(THREADS) as pool:
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
