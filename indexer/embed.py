"""Decode, augment and embed a catalogue's images on all cores; what the cache has is not embedded again."""

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
        views: `(n_images, 1 + copies, dim)` float32, unit rows; `views[:, 0]` are the originals.
        problems: entries and images that were left out, those of reading included.
        entries: good and bad, what the share of bad ones is taken of.
        recipe: names everything that the views depend on besides the images.
        fresh: how many images were embedded now; the others came from the cache.
    """

    items: tuple[Item, ...]
    image_items: NDArray[np.int64]
    digests: tuple[bytes, ...]
    views: NDArray[np.float32]
    problems: tuple[Problem, ...]
    entries: int
    recipe: str = ""
    fresh: int = 0

    @property
    def originals(self) -> Vectors:
        """`(n_images, dim)` float32: the embeddings of the untouched images."""
        return self.views[:, 0]


@dataclass(frozen=True)
class _Task:
    """One image to embed."""

    number: int
    image: str
    source: Entry


@dataclass(frozen=True)
class _Embedded:
    """One image done: the SHA-256 of its file, and `(1 + copies, dim)` float32; `fresh` if embedded now."""

    digest: bytes
    views: Vectors
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
    views = np.stack([one.views for one in embedded])
    digests = tuple(one.digest for one in embedded)
    fresh = sum(one.fresh for one in embedded)
    if how.cache is not None:
        how.cache.mark_used(one.digest for one in embedded if not one.fresh)
    return EmbeddedCatalogue(items, image_items, digests, views, tuple(problems), catalogue.entries, how.recipe, fresh)


def _chunks(tasks: list[_Task]) -> Iterator[list[_Task]]:
    """Bounded pieces, so that a large catalogue's futures and results don't all wait in memory."""
    rest = iter(tasks)
    while chunk := list(itertools.islice(rest, _CHUNK)):
        yield chunk


def _embed_image(path: Path, name: str, how: Embedding) -> _Embedded | str:
    """An image's embeddings, or why it can't be used."""
    try:
        return _cached(path, how) or _embed(path, name, how)
    except ImageError as error:
        return str(error)
    except OSError as error:
        return f"{name} can't be read: {error.strerror}"
    except ValueError as error:
        return f"{name} has no usable embedding: {error}"


def _cached(path: Path, how: Embedding) -> _Embedded | None:
    """What the cache has of a file that can't have changed; the file is not read."""
    if how.cache is None or how.rehash:
        return None
    status = path.stat()
    if status.st_size > how.limits.max_bytes:
        return None
    digest = how.cache.known_digest(str(path), status)
    views = how.cache.views(digest) if digest is not None else None
    return None if digest is None or views is None else _Embedded(digest, views, fresh=False)


def _embed(path: Path, name: str, how: Embedding) -> _Embedded:
    status = path.stat()
    data = read_limited(path, how.limits)
    digest = hashlib.sha256(data).digest()
    views = how.cache.views(digest) if how.cache is not None else None
    fresh = views is None
    if views is None:
        pixels = to_pixels(decode_image(data, how.limits, name))
        views = how.embedder.embed(np.stack(how.augmentation.views(pixels, digest)))
    if how.cache is not None:
        how.cache.remember_file(str(path), status, digest)
        if fresh:
            how.cache.put(digest, views)
    return _Embedded(digest, views, fresh)


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
