"""Apply a function to every image; record failures as problems."""

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
    """One image of a catalogue: the number of its item, and its path below the image root."""

    number: int
    image: str


def apply_to_images(
    catalogue: Catalogue, function: Callable[[Path, str], _Result], threads: int, stage: Stage
) -> tuple[list[ImageTask], list[_Result], tuple[Problem, ...]]:
    """Apply a function to every image of a catalogue, on several threads.

    Args:
        catalogue: the catalogue.
        function: takes an image's path, and its name for messages; may raise ImageError, OSError or ValueError.
        threads: the number of threads.
        stage: advanced once per image.

    Returns:
        The successful images and their results, in the catalogue's order, and the problems of the others.
    """

    def safely(task: ImageTask) -> _Result | str:
        return attempt(function, catalogue.image_root / task.image, task.image)

    def outcomes() -> Iterator[tuple[ImageTask, _Result | str]]:
        with ThreadPoolExecutor(threads, thread_name_prefix="image") as pool:
            for chunk in _chunks(image_tasks(catalogue)):
                for task, result in zip(chunk, pool.map(safely, chunk), strict=True):
                    stage.advance()
                    yield task, result

    return split_outcomes(catalogue, outcomes())


def attempt(function: Callable[[Path, str], _Result], path: Path, name: str) -> _Result | str:
    """Return the function's result for an image, or a sentence that says why there is none."""
    try:
        return function(path, name)
    except ImageError as error:
        return str(error)
    except OSError as error:
        return f"{name} can't be read: {error.strerror}"
    except ValueError as error:
        return f"{name} has no usable embedding: {error}"


def split_outcomes(
    catalogue: Catalogue, outcomes: Iterable[tuple[ImageTask, _Result | str]]
) -> tuple[list[ImageTask], list[_Result], tuple[Problem, ...]]:
    """Separate the results of `attempt` for a catalogue's images from its problems."""
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
    """Yield every image, in the catalogue's order."""
    return (ImageTask(number, image) for number, item in enumerate(catalogue.items) for image in item.images)


def _chunks(tasks: Iterator[ImageTask]) -> Iterator[list[ImageTask]]:
    """Split tasks, so that not all futures and results of a large catalogue are in memory at once."""
    while chunk := list(itertools.islice(tasks, _CHUNK)):
        yield chunk
