"""Embed one image file: read, decode and augment it; what the cache has is not embedded again."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indexer.embedding.augmentation import Augmentation
from indexer.embedding.cache import EmbeddingCache
from indexer.embedding.decoding import decode_pixels
from indexer.files.location import is_url, read_limited, status_of
from shared.errors import CatalogueError
from shared.images.decode import PREPROCESSING, ImageLimits
from shared.model.embedder import Embedder
from shared.vectors import Vectors


@dataclass(frozen=True, slots=True)
class EmbeddedImage:
    """One image done: the SHA-256 of its file, and `(1 + copies, dim)` float32 where no cache has them.

    `fresh` if it was embedded now.
    """

    digest: bytes
    views: Vectors | None
    fresh: bool


@dataclass(frozen=True)
class EmbeddingConfig:
    """How images are embedded.

    Attributes:
        embedder: shared by the threads.
        augmentation: how many copies of what kind.
        limits: images beyond them are left out.
        threads: how many images are under way at once.
        cache: what was embedded before by the same recipe; None embeds everything.
        rehash: read every file, also where its size and time of change say that it is the same.
        preprocessing: one of `shared.images.decode.PREPROCESSINGS`.
    """

    embedder: Embedder
    augmentation: Augmentation
    limits: ImageLimits
    threads: int
    cache: EmbeddingCache | None = None
    rehash: bool = False
    preprocessing: str = PREPROCESSING

    @property
    def recipe(self) -> str:
        """Names everything that views depend on besides the image."""
        return recipe_of(self.embedder.embedder_id, self.augmentation, self.limits, self.preprocessing)


def recipe_of(embedder_id: str, augmentation: Augmentation, limits: ImageLimits, preprocessing: str) -> str:
    """Names everything that views depend on besides the image."""
    return " | ".join((embedder_id, preprocessing, augmentation.recipe(), f"<= {limits.max_pixels} px"))


def cached_image(path: Path, how: EmbeddingConfig) -> EmbeddedImage | None:
    """A file that can't have changed since the cache got its embeddings; it is not read."""
    if how.cache is None or how.rehash:
        return None
    if is_url(path) and how.cache.last_digest(str(path)) is None:
        return None  # to ask a store of each new object would take as long as to fetch them
    status = status_of(path)
    if status.st_size > how.limits.max_bytes:
        return None
    digest = how.cache.known_digest(str(path), status)
    return EmbeddedImage(digest, None, fresh=False) if digest is not None and how.cache.has(digest) else None


def embed_file(path: Path, name: str, how: EmbeddingConfig) -> EmbeddedImage:
    """Read an image, and embed it unless the cache has it."""
    status = status_of(path)
    data = read_limited(path, how.limits)
    digest = hashlib.sha256(data).digest()
    cached = how.cache is not None and how.cache.has(digest)
    views = None if cached else embed_bytes(data, digest, name, how)
    if how.cache is not None:
        how.cache.remember_file(str(path), status, digest)
        if views is not None:
            how.cache.put(digest, views)
    return EmbeddedImage(digest, views if how.cache is None else None, fresh=not cached)


def embed_bytes(data: bytes, digest: bytes, name: str, how: EmbeddingConfig) -> Vectors:
    """The views of an image file, `(1 + copies, dim)` float32; `digest` is its SHA-256."""
    pixels = decode_pixels(data, how.limits, name, how.preprocessing)
    return how.embedder.embed(np.stack(how.augmentation.views(pixels, digest)))


def embed_again(path: Path, digest: bytes, how: EmbeddingConfig) -> Vectors:
    """What the cache lost after it was last asked for it.

    Raises:
        CatalogueError: the file is another one by now.
    """
    try:
        data = read_limited(path, how.limits)
    except OSError as error:
        raise CatalogueError(f"{path} was there a moment ago: {error.strerror}; build again") from error
    if hashlib.sha256(data).digest() != digest:
        raise CatalogueError(f"{path} was changed while the catalogue was read; build again")
    views = embed_bytes(data, digest, str(path), how)
    if how.cache is not None:
        how.cache.put(digest, views)
    return views
