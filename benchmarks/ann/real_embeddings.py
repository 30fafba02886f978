"""Embeddings of real photos by category, cached on disk: the basis of synthetic vectors."""

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from benchmarks.harness.embedded_photos import embed_uploads, open_lite0
from benchmarks.harness.photos import Photo, list_photos, sample
from examples.sample_catalogue.render import render_catalogue
from indexer.catalogue.reader import read_catalogue
from shared.vectors import Vectors

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "parecido-benchmarks"
_SAMPLE_ITEMS = 150


def real_embeddings(photos: Path | None) -> dict[str, Vectors]:
    """Return `(n_photos, dim)` float32 unit rows per category, by the pretrained EfficientNet-Lite0.

    Args:
        photos: Value of `--photos`; without it the rendered sample catalogue is used.
    """
    with _photos_of(photos, _SAMPLE_ITEMS) as found:
        return _embeddings(found)


def query_images(photos: Path | None, count: int) -> list[bytes]:
    """Return the file contents of some photos, or of images of the sample catalogue."""
    with _photos_of(photos, count) as found:
        return [photo.path.read_bytes() for photo in sample(found, count)]


@contextmanager
def _photos_of(photos: Path | None, n_items: int) -> Iterator[list[Photo]]:
    """Yield the photos, or images of `n_items` rendered items per category if no photos are given."""
    if photos is not None:
        yield list_photos(photos)
        return
    print("no photos given (--photos or PHOTOS): using the rendered sample catalogue")
    with tempfile.TemporaryDirectory(prefix="parecido-benchmark-") as directory:
        catalogue = read_catalogue(render_catalogue(Path(directory), n_items), None)
        root = catalogue.image_root
        yield [Photo(root / name, item.category) for item in catalogue.items for name in item.images]


def _embeddings(photos: Sequence[Photo]) -> dict[str, Vectors]:
    named = "\n".join(f"{photo.category}/{photo.path.name} {photo.path.stat().st_size}" for photo in photos)
    path = CACHE / f"embeddings-{hashlib.sha256(named.encode()).hexdigest()[:16]}.npy"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".part.npy")
        np.save(beside, embed_uploads(open_lite0(), photos))
        beside.replace(path)
    embeddings: Vectors = np.load(path)
    labels = np.array([photo.category for photo in photos])
    return {category: embeddings[labels == category] for category in sorted(set(labels.tolist()))}
