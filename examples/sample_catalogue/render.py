"""Renders the catalogue: pictures, held-out query pictures and the list of items."""

import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from random import Random

from PIL import Image, ImageOps

from examples.sample_catalogue import bicycle, keyboard, mouse, watch
from examples.sample_catalogue.camera import Camera
from examples.sample_catalogue.products import Product
from examples.sample_catalogue.rooms import room
from examples.sample_catalogue.scene import Scene, finished, random_light
from examples.sample_catalogue.tables import table

_DESIGNS: dict[str, Callable[[Random, int], Product]] = {
    "bicycle": bicycle.design,
    "mouse": mouse.design,
    "watch": watch.design,
    "keyboard": keyboard.design,
}
CATEGORIES = tuple(_DESIGNS)
QUERIES = 10
_QUALITY = 88
_SECOND_PICTURE_EVERY = 6
# Starting processes takes longer than drawing a handful of pictures.
_WORTH_PROCESSES = 32
_MOST_PROCESSES = 8


@dataclass(frozen=True)
class _Job:
    """One product to draw: an item of the catalogue, or a query."""

    out: Path
    seed: int
    category: str
    number: int
    query: bool


def photograph(product: Product, rng: Random) -> Image.Image:
    """Take one picture of a product from an angle, in a place and a light of its own."""
    pose = product.pose(rng)
    light = random_light(rng)
    camera = Camera(pose.turn, pose.distance).fitted(product.extent(), pose.size, pose.margin)
    place = room if pose.standing else table
    scene = Scene(place(rng, camera, pose.size), camera, light)
    image = finished(product.paint(scene), light, rng)
    return ImageOps.mirror(image) if pose.mirrored else image


def _draw(job: _Job) -> dict[str, object]:
    # The seed names this product alone, so that it looks the same in a catalogue
    # of any length.
    name = f"{job.seed}/{'query' if job.query else 'item'}/{job.category}/{job.number}"
    product = _DESIGNS[job.category](Random(name), job.number)  # noqa: S311 -- pictures, not secrets
    item_id = f"{job.category}-{job.number:04d}"
    folder = Path("queries" if job.query else "images", job.category)
    stem = f"query-{job.number:02d}" if job.query else item_id
    paths = [folder / f"{stem}.jpg"]
    if not job.query and job.number % _SECOND_PICTURE_EVERY == 0:
        paths.append(folder / f"{stem}-b.jpg")
    for view, path in enumerate(paths):
        image = photograph(product, Random(f"{name}/view/{view}"))  # noqa: S311 -- as above
        image.save(job.out / path, quality=_QUALITY)
    return _entry(item_id, job.category, product, [path.as_posix() for path in paths])


def _entry(item_id: str, category: str, product: Product, images: list[str]) -> dict[str, object]:
    pictures: dict[str, object] = {"image": images[0]}
    if len(images) > 1:
        pictures = {"images": images}
    return {
        "item_id": item_id,
        "category": category,
        **pictures,
        "title": product.label.title,
        "price": product.label.price,
        "colour": product.label.colour,
        "url": f"https://shop.example/p/{item_id}",
    }


def _prepare(out: Path) -> None:
    for top in ("images", "queries"):
        for category in CATEGORIES:
            folder = out / top / category
            folder.mkdir(parents=True, exist_ok=True)
            # Pictures of an earlier, longer catalogue must not stay behind.
            for old in folder.glob("*.jpg"):
                old.unlink()


def _results(jobs: list[_Job]) -> Iterator[dict[str, object]]:
    processes = min(os.cpu_count() or 1, _MOST_PROCESSES)
    if processes == 1 or len(jobs) < _WORTH_PROCESSES:
        yield from map(_draw, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        yield from pool.map(_draw, jobs, chunksize=4)


def render_catalogue(
    out: Path,
    items: int = 64,
    seed: int = 0,
    on_item: Callable[[], None] | None = None,
    queries: int = QUERIES,
) -> Path:
    """Render the sample catalogue into a folder, replacing an earlier one.

    Larger catalogues are drawn by several new processes, so a script that calls this
    must do so below ``if __name__ == "__main__":``.

    Args:
        out: The folder to write to; created when missing.
        items: How many items each category gets.
        seed: The same seed gives the same pictures.
        on_item: Called after each finished item of the catalogue.
        queries: How many held-out pictures each category gets.

    Returns:
        The path of the list of items, ``catalogue.jsonl``.
    """
    _prepare(out)
    jobs = [
        _Job(out, seed, category, number, query)
        for query, count in ((False, items), (True, queries))
        for category in CATEGORIES
        for number in range(1, count + 1)
    ]
    catalogue = out / "catalogue.jsonl"
    unfinished = catalogue.with_suffix(".jsonl.part")
    with unfinished.open("w", encoding="utf-8", newline="\n") as lines:
        for job, entry in zip(jobs, _results(jobs), strict=True):
            if job.query:
                continue
            lines.write(json.dumps(entry, ensure_ascii=False) + "\n")
            if on_item:
                on_item()
    unfinished.replace(catalogue)
    return catalogue
