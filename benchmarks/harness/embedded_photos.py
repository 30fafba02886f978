"""Embeddings of photos (one item per photo) as the indexer's stages take them, and of edited photos."""

import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.fresh_process import export_lite0, run_in_fresh_process
from benchmarks.harness.photos import Photo, write_catalogue
from indexer.catalogue.model import Catalogue
from indexer.catalogue.reader import read_catalogue
from indexer.console.progress import SilentReporter
from indexer.data_quality.snapshot_images import SnapshotImages
from indexer.embedding.augmentation import Augmentation
from indexer.embedding.embed_catalogue import EmbeddedCatalogue, embed_catalogue
from indexer.embedding.embed_image import EmbeddingConfig
from shared.catalogue.items import IndexedItem, Item
from shared.images.decode import decode_image
from shared.images.limits import ImageLimits
from shared.images.preprocessing import DEFAULT_SIDE_PX, Preprocessing, to_pixels
from shared.index.partition import Partition
from shared.model.embedder import Embedder, LiteRtEmbedder
from shared.vectors import Vectors

THREADS = os.cpu_count() or 1


def open_lite0(side_px: int = DEFAULT_SIDE_PX) -> LiteRtEmbedder:
    """Open the exported EfficientNet-Lite0, without fine-tuning."""
    return LiteRtEmbedder(run_in_fresh_process(export_lite0, side_px), THREADS)


def embed_photos(photos: Sequence[Photo], root: Path, embedder: Embedder, copies: int) -> EmbeddedCatalogue:
    """Embed photos.

    Args:
        photos: Photos below `root`.
        root: Directory that item ids are relative to.
        embedder: Has an interpreter for each of `THREADS`.
        copies: Augmented copies per photo.
    """
    with tempfile.TemporaryDirectory(prefix="parecido-benchmark-") as directory:
        return _embedded(write_catalogue(photos, root, Path(directory, "catalogue.jsonl")), embedder, copies)


def embed_entries(path: Path, embedder: Embedder, copies: int, limit: int | None = None) -> EmbeddedCatalogue:
    """Embed the photos of a catalogue: folders, CSV or JSON lines.

    Args:
        path: Of the catalogue.
        embedder: Has an interpreter for each of `THREADS`.
        copies: Augmented copies per photo.
        limit: Most items, chosen at random; None for all.
    """
    catalogue = read_catalogue(path)
    chosen = np.sort(np.random.default_rng(0).permutation(len(catalogue.items))[:limit])
    return _embedded(replace(catalogue, items=tuple(catalogue.items[item] for item in chosen)), embedder, copies)


def _embedded(catalogue: Catalogue, embedder: Embedder, copies: int) -> EmbeddedCatalogue:
    how = EmbeddingConfig(
        embedder, Augmentation(copies=copies), ImageLimits(), THREADS, preprocessing=Preprocessing(embedder.side_px)
    )
    with SilentReporter().stage("") as stage:
        return embed_catalogue(catalogue, how, stage)


def subset(embedded: EmbeddedCatalogue, indices: NDArray[np.int64]) -> EmbeddedCatalogue:
    """Return the catalogue of the photos at `indices`."""
    return replace(
        embedded,
        items=tuple(embedded.items[index] for index in indices),
        image_items=np.arange(len(indices)),
        digests=tuple(embedded.digests[index] for index in indices),
        views=embedded.views[indices],
    )


def embed_uploads(
    embedder: Embedder, photos: Sequence[Photo], change: Callable[[Path], bytes] = Path.read_bytes
) -> Vectors:
    """Return `(n_photos, dim)` float32 unit rows: the embeddings of the edited photos."""

    def embed(photo: Photo) -> Vectors:
        image = decode_image(change(photo.path), ImageLimits(), preprocessing=Preprocessing(embedder.side_px))
        return embedder.embed(to_pixels(image, embedder.side_px)[np.newaxis])

    with ThreadPoolExecutor(THREADS) as pool:
        return np.concatenate(list(pool.map(embed, photos)))


def as_originals(embeddings: Vectors, photos: Sequence[Photo], categories: Sequence[str]) -> SnapshotImages:
    """Return the photos as a snapshot would hold them, one item each, with the given categories."""
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
    return SnapshotImages.of(items, partitions)
