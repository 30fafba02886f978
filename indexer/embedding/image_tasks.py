"""Do something with every image of a catalogue; those that it can't be done with become problems."""

import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

from indexer.catalogue.model import Catalogue, Problem
from indexer.console.progress import Stage
from shared.errors import ImageError

_CHUNK = 1024
_Result = TypeVar("_Result")


class ImageTask(NamedTuple):
    """One image of a catalogue: the number of its item there, and its path."""

    number: int
    image: str


def apply_to_images(
    catalogue: Catalogue, work: Callable[[Path, str], _Result], threads: int, stage: Stage
) -> tuple[list[ImageTask], list[_Result], tuple[Problem, ...]]:
    """Do something with every image of a catalogue, on several threads.

    Args:
        catalogue: whose images.
        work: takes an image's path, and its name for messages; may raise ImageError, OSError or ValueError.
        threads: how many images are under way at once.
        stage: is told of each image done.

    Returns:
        The images that it worked for, with its results, in the catalogue's order; and the others.
    """

    def safely(task: ImageTask) -> _Result | str:
        return attempt(work, catalogue.image_root / task.image, task.image)

    def outcomes() -> Iterator[tuple[ImageTask, _Result | str]]:
        with ThreadPoolExecutor(threads, thread_name_prefix="image") as pool:
            for chunk in _chunks(image_tasks(catalogue)):
                for task, result in zip(chunk, pool.map(safely, chunk), strict=True):
                    stage.advance()
                    yield task, result

    return split_outcomes(catalogue, outcomes())


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


def split_outcomes(
    catalogue: Catalogue, outcomes: Iterable[tuple[ImageTask, _Result | str]]
) -> tuple[list[ImageTask], list[_Result], tuple[Problem, ...]]:
    """Part what `attempt` gave for each image of a catalogue into good and bad."""
    good: list[ImageTask] = []
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


def image_tasks(catalogue: Catalogue) -> Iterator[ImageTask]:
    """Every image, in the catalogue's order."""
    return (ImageTask(number, image) for number, item in enumerate(catalogue.items) for image in item.images)


def _chunks(tasks: Iterator[ImageTask]) -> Iterator[list[ImageTask]]:
    """Bounded pieces, so that a large catalogue's futures and results don't all wait in memory."""
    while chunk := list(itertools.islice(tasks, _CHUNK)):
        yield chunk
