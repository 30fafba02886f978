"""Decode, augment and embed a catalogue's images on all cores; what the cache has is not embedded again.

With a cache the embeddings stay there: later stages read those that they need.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from indexer.augment import Augmentation
from indexer.embedding_cache import EmbeddingCache
from indexer.location import as_os_error, is_url, status_of
from indexer.read_catalogue import Catalogue, Problem
from indexer.report import Stage
from indexer.views import CachedViews, Views
from shared.catalogue import Item
from shared.embedder import Embedder
from shared.errors import CatalogueError, ImageError
from shared.images import PREPROCESSING, ImageLimits, decode_image, to_pixels
from shared.vectors import Vectors

_CHUNK = 1024
_Result = TypeVar("_Result")


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


class Task(NamedTuple):
    """One image of a catalogue: the number of its item there, and its path."""

    number: int
    image: str


@dataclass(frozen=True, slots=True)
class EmbeddedImage:
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
        return recipe_of(self.embedder.embedder_id, self.augmentation, self.limits)


def recipe_of(embedder_id: str, augmentation: Augmentation, limits: ImageLimits) -> str:
    """Names everything that views depend on besides the image."""
    return " | ".join((embedder_id, PREPROCESSING, augmentation.recipe(), f"<= {limits.max_pixels} px"))


Done: TypeAlias = tuple[list[Task], list[EmbeddedImage], tuple[Problem, ...]]
"""The images that are good, what became of each, and the others, all in the catalogue's order."""

Executor: TypeAlias = Callable[[Catalogue, Embedding, Stage], Done]
"""Whoever embeds all images of a catalogue: this machine, or a cluster."""


def on_this_machine(catalogue: Catalogue, how: Embedding, stage: Stage) -> Done:
    """Embed on this machine's threads."""

    def work(path: Path, name: str) -> EmbeddedImage:
        return known(path, how) or embed_file(path, name, how)

    return each_image(catalogue, work, how.threads, stage)


def embed_catalogue(
    catalogue: Catalogue, how: Embedding, stage: Stage, executor: Executor = on_this_machine
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
    items, image_items = keep_good(catalogue, tasks)
    digests = tuple(one.digest for one in embedded)
    paths = [catalogue.image_root / task.image for task in tasks]
    views = _views(paths, embedded, how)
    return EmbeddedCatalogue(
        items, image_items, digests, views, tuple(catalogue.problems + problems), catalogue.entries, how.recipe
    )


def each_image(
    catalogue: Catalogue, work: Callable[[Path, str], _Result], threads: int, stage: Stage
) -> tuple[list[Task], list[_Result], tuple[Problem, ...]]:
    """Do something with every image of a catalogue, on several threads.

    Args:
        catalogue: whose images.
        work: takes an image's path, and its name for messages; may raise ImageError, OSError or ValueError.
        threads: how many images are under way at once.
        stage: is told of each image done.

    Returns:
        The images that it worked for, with its results, in the catalogue's order; and the others.
    """

    def safely(task: Task) -> _Result | str:
        return attempt(work, catalogue.image_root / task.image, task.image)

    def outcomes() -> Iterator[tuple[Task, _Result | str]]:
        with ThreadPoolExecutor(threads, thread_name_prefix="image") as pool:
            for chunk in _chunks(tasks_of(catalogue)):
                for task, result in zip(chunk, pool.map(safely, chunk), strict=True):
                    stage.advance()
                    yield task, result

    return sort_out(catalogue, outcomes())


def attempt(work: Callable[[Path, str], _Result], path: Path, name: str) -> _Result | str:
    """What `work` gives for an image, or why it gives nothing."""
    try:
        return work(path, name)
    except ImageError as error:
        return str(error)
    except OSError as error:
        return f"{name} can't be read: {error.strerror}"
    except ValueError as error:
        return f"{name} has no usable embedding: {error}"


def sort_out(
    catalogue: Catalogue, outcomes: Iterable[tuple[Task, _Result | str]]
) -> tuple[list[Task], list[_Result], tuple[Problem, ...]]:
    """Part what `attempt` gave for each image of a catalogue into good and bad."""
    good: list[Task] = []
    results: list[_Result] = []
    problems: list[Problem] = []
    for task, result in outcomes:
        if isinstance(result, str):
            source = catalogue.sources[task.number]
            problems.append(Problem(source.file, source.row, catalogue.items[task.number].item_id, result))
        else:
            good.append(task)
            results.append(result)
    return good, results, tuple(problems)


def tasks_of(catalogue: Catalogue) -> Iterator[Task]:
    """Every image, in the catalogue's order."""
    return (Task(number, image) for number, item in enumerate(catalogue.items) for image in item.images)


def _chunks(tasks: Iterator[Task]) -> Iterator[list[Task]]:
    """Bounded pieces, so that a large catalogue's futures and results don't all wait in memory."""
    while chunk := list(itertools.islice(tasks, _CHUNK)):
        yield chunk


def _views(paths: list[Path], embedded: list[EmbeddedImage], how: Embedding) -> Views:
    """What was embedded, from the cache where there is one."""
    if how.cache is None:
        return np.stack([one.views for one in embedded if one.views is not None])
    how.cache.mark_used(one.digest for one in embedded if not one.fresh)
    digests = [one.digest for one in embedded]

    def embed_again(image: int) -> Vectors:
        return _embed_again(paths[image], digests[image], how)

    return CachedViews(how.cache, digests, (len(digests), 1 + how.augmentation.copies, how.embedder.dim), embed_again)


def known(path: Path, how: Embedding) -> EmbeddedImage | None:
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


def embed_file(path: Path, name: str, how: Embedding) -> EmbeddedImage:
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


def embed_bytes(data: bytes, digest: bytes, name: str, how: Embedding) -> Vectors:
    """The views of an image file, `(1 + copies, dim)` float32; `digest` is its SHA-256."""
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
    views = embed_bytes(data, digest, str(path), how)
    if how.cache is not None:
        how.cache.put(digest, views)
    return views


def read_limited(path: Path, limits: ImageLimits) -> bytes:
    """A file's bytes, but never many more than `limits` allow.

    Raises:
        OSError: it can't be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(limits.max_bytes + 1)
    except Exception as error:
        if is_url(path):
            raise as_os_error(error) from error
        raise


def keep_good(catalogue: Catalogue, good: list[Task]) -> tuple[tuple[Item, ...], NDArray[np.int64]]:
    """Number the items that have a good image from 0, in order, so that a bad one leaves no gap."""
    items: list[Item] = []
    image_items: list[int] = []
    for number, tasks in itertools.groupby(good, key=lambda task: task.number):
        images = tuple(task.image for task in tasks)
        image_items += [len(items)] * len(images)
        items.append(replace(catalogue.items[number], images=images))
    return tuple(items), np.asarray(image_items, dtype=np.int64)


def _nothing_good(catalogue: Catalogue, found: tuple[Problem, ...]) -> str:
    problems = catalogue.problems + found
    return (
        f"the catalogue {catalogue.path} has no usable image; 1 of {len(problems)} problems: {problems[0].sentence()}"
    )
