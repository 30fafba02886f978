"""Photos with their embeddings, an item a photo, as the indexer's stages take them."""

import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.photos import Photo, write_catalogue
from indexer.augment import Augmentation
from indexer.embed import EmbeddedCatalogue, Embedding, embed_catalogue
from indexer.report import SilentReporter
from shared.embedder import Embedder
from shared.images import ImageLimits

THREADS = os.cpu_count() or 1


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
