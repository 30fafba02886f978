"""Embed a catalogue's images on all cores, or wherever an executor does it.

With a cache the embeddings stay there: later stages read those that they need.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from indexer.catalogue.model import Catalogue, Problem
from indexer.console.progress import Stage
from indexer.embedding.embed_image import EmbeddedImage, EmbeddingConfig, cached_image, embed_again, embed_file
from indexer.embedding.image_tasks import ImageTask, apply_to_images
from indexer.embedding.views import CachedViews, Views
from shared.catalogue.items import Item
from shared.errors import CatalogueError
from shared.vectors import Vectors


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
    """

    items: tuple[Item, ...]
    image_items: NDArray[np.int64]
    digests: tuple[bytes, ...]
    views: Views
    problems: tuple[Problem, ...]
    entries: int
    recipe: str = ""

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories of the items, sorted: the order of the classifier's columns."""
        return tuple(sorted({item.category for item in self.items}))

    def columns(self, images: NDArray[np.int64], categories: Sequence[str]) -> NDArray[np.int64]:
        """`(n,)` places of images → `(n,)`: the place of each one's category in `categories`, -1 for none."""
        column = {category: place for place, category in enumerate(categories)}
        labels = [column.get(self.items[number].category, -1) for number in self.image_items[images]]
        return np.array(labels, dtype=np.int64)

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


EmbeddingOutcome: TypeAlias = tuple[list[ImageTask], list[EmbeddedImage], tuple[Problem, ...]]
"""The images that are good, what became of each, and the others, all in the catalogue's order."""

Executor: TypeAlias = Callable[[Catalogue, EmbeddingConfig, Stage], EmbeddingOutcome]
"""Whoever embeds all images of a catalogue: this machine, or a cluster."""


def embed_locally(catalogue: Catalogue, how: EmbeddingConfig, stage: Stage) -> EmbeddingOutcome:
    """Embed on this machine's threads."""

    def work(path: Path, name: str) -> EmbeddedImage:
        return cached_image(path, how) or embed_file(path, name, how)

    return apply_to_images(catalogue, work, how.threads, stage)


def embed_catalogue(
    catalogue: Catalogue, how: EmbeddingConfig, stage: Stage, executor: Executor = embed_locally
) -> EmbeddedCatalogue:
    """Embed every image and its augmented copies; images that can't be read become problems.

    Args:
        catalogue: what to embed.
        how: with what, and on how many threads.
        stage: is told of each image done.
        executor: where.

    Raises:
        CatalogueError: not one image is good.
    """
    tasks, embedded, problems = executor(catalogue, how, stage)
    if not tasks:
        raise CatalogueError(_nothing_good(catalogue, problems))
    items, image_items = number_good_items(catalogue, tasks)
    digests = tuple(one.digest for one in embedded)
    paths = [catalogue.image_root / task.image for task in tasks]
    views = _views(paths, embedded, how)
    return EmbeddedCatalogue(
        items, image_items, digests, views, tuple(catalogue.problems + problems), catalogue.n_entries, how.recipe
    )


def number_good_items(catalogue: Catalogue, good: list[ImageTask]) -> tuple[tuple[Item, ...], NDArray[np.int64]]:
    """Number the items that have a good image from 0, in order, so that a bad one leaves no gap."""
    items: list[Item] = []
    image_items: list[int] = []
    for number, tasks in itertools.groupby(good, key=lambda task: task.number):
        images = tuple(task.image for task in tasks)
        image_items += [len(items)] * len(images)
        items.append(replace(catalogue.items[number], images=images))
    return tuple(items), np.asarray(image_items, dtype=np.int64)


def _views(paths: list[Path], embedded: list[EmbeddedImage], how: EmbeddingConfig) -> Views:
    """What was embedded, from the cache where there is one."""
    if how.cache is None:
        return np.stack([one.views for one in embedded if one.views is not None])
    how.cache.mark_used(one.digest for one in embedded if not one.fresh)
    digests = [one.digest for one in embedded]

    def again(image: int) -> Vectors:
        return embed_again(paths[image], digests[image], how)

    return CachedViews(how.cache, digests, (len(digests), 1 + how.augmentation.copies, how.embedder.dim), again)


def _nothing_good(catalogue: Catalogue, found: tuple[Problem, ...]) -> str:
    problems = catalogue.problems + found
    return (
        f"the catalogue {catalogue.path} has no usable image; 1 of {len(problems)} problems: {problems[0].sentence()}"
    )
