"""Embedding of a catalogue's images, on all cores of this machine or by another executor.

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
        items: in the catalogue's order, with only their good images; an item's number is its index here.
        image_items: `(n_images,)` int64, the number of each image's item; images of an item are adjacent, in order.
        digests: the SHA-256 of each image's file.
        views: `(n_images, 1 + copies, dim)` float32, unit rows; the first view is the original.
        problems: the entries and images that were left out, in reading the catalogue or in embedding.
        entries: the number of all entries, good and bad.
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
        """The categories of the items, sorted, as the classifier's columns are."""
        return tuple(sorted({item.category for item in self.items}))

    def columns(self, images: NDArray[np.int64], categories: Sequence[str]) -> NDArray[np.int64]:
        """`(n,)` image indices → `(n,)` int64: each category's index in `categories`, or -1."""
        column = {category: number for number, category in enumerate(categories)}
        labels = [column.get(self.items[number].category, -1) for number in self.image_items[images]]
        return np.array(labels, dtype=np.int64)

    def labelled_digests(self) -> Iterator[tuple[str, bytes]]:
        """Yield category and SHA-256 of every image."""
        for number, digest in zip(self.image_items.tolist(), self.digests, strict=True):
            yield self.items[number].category, digest

    @property
    def originals(self) -> Vectors:
        """`(n_images, dim)` float32: the embeddings of all original images."""
        return self.originals_of(np.arange(len(self.digests)))

    def originals_of(self, images: NDArray[np.int64]) -> Vectors:
        """`(n,)` image indices → `(n, dim)` float32: the embeddings of the original images."""
        return self.views[images][:, 0]


EmbeddingOutcome: TypeAlias = tuple[list[ImageTask], list[EmbeddedImage], tuple[Problem, ...]]
"""The good images, their embeddings, and the problems of the others, all in the catalogue's order."""

Executor: TypeAlias = Callable[[Catalogue, EmbeddingConfig, Stage], EmbeddingOutcome]
"""Embeds all images of a catalogue: on this machine, or on a cluster."""


def embed_locally(catalogue: Catalogue, config: EmbeddingConfig, stage: Stage) -> EmbeddingOutcome:
    """Embed all images on threads of this machine."""

    def embed(path: Path, name: str) -> EmbeddedImage:
        return cached_image(path, config) or embed_file(path, name, config)

    return apply_to_images(catalogue, embed, config.threads, stage)


def embed_catalogue(
    catalogue: Catalogue, config: EmbeddingConfig, stage: Stage, executor: Executor = embed_locally
) -> EmbeddedCatalogue:
    """Embed every image and its augmented copies; images that can't be read are recorded as problems.

    Args:
        catalogue: the catalogue.
        config: embedder and settings.
        stage: advanced once per image.
        executor: embeds the images.

    Raises:
        CatalogueError: no image is good.
    """
    tasks, embedded, problems = executor(catalogue, config, stage)
    if not tasks:
        raise CatalogueError(no_usable_image(catalogue, problems))
    items, image_items = number_good_items(catalogue, tasks)
    digests = tuple(image.digest for image in embedded)
    paths = [catalogue.image_root / task.image for task in tasks]
    views = _views(paths, embedded, config)
    return EmbeddedCatalogue(
        items, image_items, digests, views, tuple(catalogue.problems + problems), catalogue.n_entries, config.recipe
    )


def number_good_items(catalogue: Catalogue, good: list[ImageTask]) -> tuple[tuple[Item, ...], NDArray[np.int64]]:
    """Renumber the items that have a good image from 0, in order.

    Returns:
        The items with their good images, and `(n_images,)` int64: the number of each image's item.
    """
    items: list[Item] = []
    image_items: list[int] = []
    for number, tasks in itertools.groupby(good, key=lambda task: task.number):
        images = tuple(task.image for task in tasks)
        image_items += [len(items)] * len(images)
        items.append(replace(catalogue.items[number], images=images))
    return tuple(items), np.asarray(image_items, dtype=np.int64)


def _views(paths: list[Path], embedded: list[EmbeddedImage], config: EmbeddingConfig) -> Views:
    """The views of embedded images, read from the cache if there is one."""
    if config.cache is None:
        return np.stack([image.views for image in embedded if image.views is not None])
    config.cache.mark_used(image.digest for image in embedded if not image.fresh)
    digests = [image.digest for image in embedded]

    def again(image: int) -> Vectors:
        return embed_again(paths[image], digests[image], config)

    return CachedViews(
        config.cache, digests, (len(digests), 1 + config.augmentation.copies, config.embedder.dim), again
    )


def no_usable_image(catalogue: Catalogue, image_problems: tuple[Problem, ...]) -> str:
    """Return the message for a catalogue all of whose images have problems."""
    problems = catalogue.problems + image_problems
    return (
        f"the catalogue {catalogue.path} has no usable image; 1 of {len(problems)} problems: {problems[0].sentence()}"
    )
