"""Embedding of one image file: read, decode, augment and embed it, unless its views are cached."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indexer.embedding.augmentation import Augmentation
from indexer.embedding.cache import EmbeddingCache
from indexer.embedding.decoding import decode_pixels
from indexer.files.location import is_url, read_limited, status_of
from shared.errors import CatalogueError
from shared.images.limits import ImageLimits
from shared.images.preprocessing import DEFAULT_PREPROCESSING, Preprocessing
from shared.model.embedder import Embedder
from shared.vectors import Vectors


@dataclass(frozen=True, slots=True)
class EmbeddedImage:
    """An image that was embedded.

    Attributes:
        digest: the SHA-256 of its file.
        views: `(1 + copies, dim)` float32; None if they are in the cache.
        fresh: False if the cache had them already.
    """

    digest: bytes
    views: Vectors | None
    fresh: bool


@dataclass(frozen=True)
class EmbeddingConfig:
    """Embedder and settings for images of a catalogue.

    Attributes:
        embedder: shared by the threads.
        augmentation: number and kind of copies.
        limits: larger images are left out.
        threads: number of images processed at once.
        cache: the views embedded earlier with the same recipe; None embeds everything.
        rehash: read every file, even if its size and modification time have not changed.
        preprocessing: to the side that the embedder takes.
    """

    embedder: Embedder
    augmentation: Augmentation
    limits: ImageLimits
    threads: int
    cache: EmbeddingCache | None = None
    rehash: bool = False
    preprocessing: Preprocessing = DEFAULT_PREPROCESSING

    @property
    def recipe(self) -> str:
        """Return a text that names everything the views depend on besides the image."""
        return recipe_of(self.embedder.embedder_id, self.augmentation, self.limits, self.preprocessing)


def recipe_of(embedder_id: str, augmentation: Augmentation, limits: ImageLimits, preprocessing: Preprocessing) -> str:
    """Return a text that names everything the views depend on besides the image."""
    return " | ".join((embedder_id, preprocessing.name, augmentation.recipe(), f"<= {limits.max_pixels} px"))


def cached_image(path: Path, config: EmbeddingConfig) -> EmbeddedImage | None:
    """Look up an image by its path, size and modification time, without reading it; None if it has to be read."""
    if config.cache is None or config.rehash:
        return None
    if is_url(path) and config.cache.last_digest(str(path)) is None:
        return None  # asking a store for the status of each new object would take as long as fetching it
    status = status_of(path)
    if status.st_size > config.limits.max_bytes:
        return None
    digest = config.cache.known_digest(str(path), status)
    return EmbeddedImage(digest, None, fresh=False) if digest is not None and config.cache.has(digest) else None


def embed_file(path: Path, name: str, config: EmbeddingConfig) -> EmbeddedImage:
    """Read an image, and embed it unless the cache has it."""
    status = status_of(path)
    data = read_limited(path, config.limits)
    digest = hashlib.sha256(data).digest()
    cached = config.cache is not None and config.cache.has(digest)
    views = None if cached else embed_bytes(data, digest, name, config)
    if config.cache is not None:
        config.cache.remember_file(str(path), status, digest)
        if views is not None:
            config.cache.put(digest, views)
    return EmbeddedImage(digest, views if config.cache is None else None, fresh=not cached)


def embed_bytes(data: bytes, digest: bytes, name: str, config: EmbeddingConfig) -> Vectors:
    """Return the views of an image file with this SHA-256, `(1 + copies, dim)` float32."""
    pixels = decode_pixels(data, config.limits, name, config.preprocessing)
    return config.embedder.embed(np.stack(config.augmentation.views(pixels, digest)))


def embed_again(path: Path, digest: bytes, config: EmbeddingConfig) -> Vectors:
    """Embed an image whose cache entry turned out to be missing or damaged, and cache it.

    Raises:
        CatalogueError: the file has changed or disappeared.
    """
    try:
        data = read_limited(path, config.limits)
    except OSError as error:
        raise CatalogueError(f"{path} was readable earlier in this build: {error.strerror}; build again") from error
    if hashlib.sha256(data).digest() != digest:
        raise CatalogueError(f"{path} was changed while the catalogue was read; build again")
    views = embed_bytes(data, digest, str(path), config)
    if config.cache is not None:
        config.cache.put(digest, views)
    return views
