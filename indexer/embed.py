"""Decode, augment and embed a catalogue's images on all cores; what the cache has is not embedded again.

With a cache the embeddings stay there: later stages read those that they need.
"""

import hashlib
import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexer.augment import Augmentation
from indexer.catalogue_entries import Entry
from indexer.embedding_cache import EmbeddingCache
from indexer.read_catalogue import Catalogue, Problem
from indexer.report import Stage
from indexer.views import CachedViews, Views
from shared.catalogue import Item
from shared.embedder import Embedder
from shared.errors import CatalogueError, ImageError
from shared.images import PREPROCESSING, ImageLimits, decode_image, to_pixels
from shared.vectors import Vectors

_CHUNK = 1024


@dataclass(frozen=True)
class EmbeddedCatalogue:
    """The items that have at least one good image, and the embeddings of those.

    Attributes:
        items: in the catalogue's order, with only their good images; an item's place here is its number.
        image_items: `(n_images,)` int64, the number of each image's item; images of an item stand together, in order.
        digests: the SHA-256 of each image's file.
        views: `(n_images, 1 + copies, dim)` float32, unit rows, of which the first view is the original.
        problems: entries and images that were left out, those of reading included.
        entries: good and bad, what the share of bad ones is taken of.
        recipe: names everything that the views depend on besides the images.
        fresh: how many images were embedded now; the others came from the cache.
    """

    items: tuple[Item, ...]
    image_items: NDArray[np.int64]
    digests: tuple[bytes, ...]
    views: Views
    problems: tuple[Problem, ...]
    entries: int
    recipe: str = ""
    fresh: int = 0

    def labelled_digests(self) -> Iterator[tuple[str, bytes]]:
        """Category and SHA-256 of every image."""
        for number, digest in zip(self.image_items.tolist(), self.digests, strict=True):
            yield self.items[number].category, digest

    @property
    def originals(self) -> Vectors:
        """`(n_images, dim)` float32: the embeddings of all untouched images."""
        return self.originals_of(np.arange(len(self.digests)))

    def originals_of(self, images: NDArray[np.int64]) -> Vectors:
        """`(n,)` places of images → `(n, dim)` float32: the embeddings of the untouched images."""
        return self.views[images][:, 0]


@dataclass(frozen=True)
class _Task:
    """One image to embed."""

    number: int
    image: str
    source: Entry


@dataclass(frozen=True)
class _Embedded:
    """One image done: the SHA-256 of its file, and `(1 + copies, dim)` float32 where no cache has them.

    `fresh` if it was embedded now.
    """

    digest: bytes
    views: Vectors | None
    fresh: bool


@dataclass(frozen=True)
class Embedding:
    """How images are embedded.

    Attributes:
        embedder: shared by the threads.
        augmentation: how many copies of what kind.
        limits: images beyond them are left out.
        threads: how many images are under way at once.
        cache: what was embedded before by the same recipe; None embeds everything.
        rehash: read every file, also where its size and time of change say that it is the same.
    """

    embedder: Embedder
    augmentation: Augmentation
    limits: ImageLimits
    threads: int
    cache: EmbeddingCache | None = None
    rehash: bool = False

    @property
    def recipe(self) -> str:
        """Names everything that views depend on besides the image."""
        parts = (
            self.embedder.embedder_id,
            PREPROCESSING,
            self.augmentation.recipe(),
            f"<= {self.limits.max_pixels} px",
        )
        return " | ".join(parts)


def embed_catalogue(catalogue: Catalogue, how: Embedding, stage: Stage) -> EmbeddedCatalogue:
    """Embed every image and its augmented copies; images that can't be read become problems.

    Args:
        catalogue: what to embed.
        how: with what, and on how many threads.
        stage: is told of each image done.

    Raises:
        CatalogueError: not one image is good.
    """
    tasks = [
        _Task(number, image, source)
        for number, (item, source) in enumerate(zip(catalogue.items, catalogue.sources, strict=True))
        for image in item.images
    ]

    def work(task: _Task) -> _Embedded | Problem:
        found = _embed_image(catalogue.image_root / task.image, task.image, how)
        if isinstance(found, str):
            return Problem(task.source.file, task.source.row, catalogue.items[task.number].item_id, found)
        return found

    good: list[_Task] = []
    embedded: list[_Embedded] = []
    problems = list(catalogue.problems)
    with ThreadPoolExecutor(how.threads, thread_name_prefix="embed") as pool:
        for chunk in _chunks(tasks):
            for task, found in zip(chunk, pool.map(work, chunk), strict=True):
                stage.advance()
                if isinstance(found, Problem):
                    problems.append(found)
                else:
                    good.append(task)
                    embedded.append(found)
    if not good:
        raise CatalogueError(_nothing_good(catalogue, problems))
    items, image_items = _keep_good(catalogue, good)
    digests = tuple(one.digest for one in embedded)
    fresh = sum(one.fresh for one in embedded)
    paths = [catalogue.image_root / task.image for task in good]
    views = _views(paths, embedded, how)
    return EmbeddedCatalogue(items, image_items, digests, views, tuple(problems), catalogue.entries, how.recipe, fresh)


def _views(paths: list[Path], embedded: list[_Embedded], how: Embedding) -> Views:
    """What was embedded, from the cache where there is one."""
    if how.cache is None:
        return np.stack([one.views for one in embedded if one.views is not None])
    how.cache.mark_used(one.digest for one in embedded if not one.fresh)
    digests = [one.digest for one in embedded]

    def embed_again(image: int) -> Vectors:
        return _embed_again(paths[image], digests[image], how)

    return CachedViews(how.cache, digests, (len(digests), 1 + how.augmentation.copies, how.embedder.dim), embed_again)


def _chunks(tasks: list[_Task]) -> Iterator[list[_Task]]:
    """Bounded pieces, so that a large catalogue's futures and results don't all wait in memory."""
    rest = iter(tasks)
    while chunk := list(itertools.islice(rest, _CHUNK)):
        yield chunk


def _embed_image(path: Path, name: str, how: Embedding) -> _Embedded | str:
    """An image's embeddings, or why it can't be used."""
    try:
        return _known(path, how) or _embed(path, name, how)
    except ImageError as error:
        return str(error)
    except OSError as error:
        return f"{name} can't be read: {error.strerror}"
    except ValueError as error:
        return f"{name} has no usable embedding: {error}"


def _known(path: Path, how: Embedding) -> _Embedded | None:
    """A file that can't have changed since the cache got its embeddings; it is not read."""
    if how.cache is None or how.rehash:
        return None
    status = path.stat()
    if status.st_size > how.limits.max_bytes:
        return None
    digest = how.cache.known_digest(str(path), status)
    return _Embedded(digest, None, fresh=False) if digest is not None and how.cache.has(digest) else None


def _embed(path: Path, name: str, how: Embedding) -> _Embedded:
    status = path.stat()
    data = read_limited(path, how.limits)
    digest = hashlib.sha256(data).digest()
    cached = how.cache is not None and how.cache.has(digest)
    views = None if cached else _embed_bytes(data, digest, name, how)
    if how.cache is not None:
        how.cache.remember_file(str(path), status, digest)
        if views is not None:
            how.cache.put(digest, views)
    return _Embedded(digest, views if how.cache is None else None, fresh=not cached)


def _embed_bytes(data: bytes, digest: bytes, name: str, how: Embedding) -> Vectors:
    pixels = to_pixels(decode_image(data, how.limits, name))
    return how.embedder.embed(np.stack(how.augmentation.views(pixels, digest)))


def _embed_again(path: Path, digest: bytes, how: Embedding) -> Vectors:
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
    views = _embed_bytes(data, digest, str(path), how)
    if how.cache is not None:
        how.cache.put(digest, views)
    return views


def read_limited(path: Path, limits: ImageLimits) -> bytes:
    """A file's bytes, but never many more than `limits` allow."""
    with path.open("rb") as file:
        return file.read(limits.max_bytes + 1)


def _keep_good(catalogue: Catalogue, good: list[_Task]) -> tuple[tuple[Item, ...], NDArray[np.int64]]:
    """Number the items that have a good image from 0, in order, so that a bad one leaves no gap."""
    items: list[Item] = []
    image_items: list[int] = []
    for number, tasks in itertools.groupby(good, key=lambda task: task.number):
        images = tuple(task.image for task in tasks)
        image_items += [len(items)] * len(images)
        items.append(replace(catalogue.items[number], images=images))
    return tuple(items), np.asarray(image_items, dtype=np.int64)


def _nothing_good(catalogue: Catalogue, problems: list[Problem]) -> str:
    return (
        f"the catalogue {catalogue.path} has no usable image; 1 of {len(problems)} problems: {problems[0].sentence()}"
    )
