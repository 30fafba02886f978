"""Labelled photos: where they lie, and what they show."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from indexer.catalogue.model import Catalogue
from indexer.catalogue.reader import read_catalogue
from shared.images.formats import SUFFIXES

SPLITS = ("train", "validation")


@dataclass(frozen=True)
class Photo:
    """One photo.

    Attributes:
        path: of its file.
        category: what it shows.
    """

    path: Path
    category: str


def list_photos(photos: Path, *splits: str) -> list[Photo]:
    """The photos in `photos/<split>/<category>/`, sorted.

    Args:
        photos: what `--photos` named.
        splits: some of `SPLITS`; all of them by default.
    """
    found = [
        Photo(path, path.parent.name)
        for split in splits or SPLITS
        for path in sorted((photos / split).glob("*/*"))
        if path.suffix.lower() in SUFFIXES
    ]
    if not found:
        raise SystemExit(f"there are no photos in {photos}: wanted train/ and validation/, each a folder a category")
    return found


def sample(photos: Sequence[Photo], count: int, seed: int = 0) -> list[Photo]:
    """At most `count` of the photos, in their order; the same seed gives the same ones."""
    chosen = random.Random(seed).sample(range(len(photos)), min(count, len(photos)))  # noqa: S311
    return [photos[place] for place in sorted(chosen)]


def write_catalogue(photos: Sequence[Photo], root: Path, path: Path) -> Catalogue:
    """Write a JSON-lines catalogue with an item a photo, and read it back.

    Args:
        photos: all below `root`.
        root: what image paths, and so item ids, are relative to.
        path: the file to write.
    """
    lines = []
    for photo in photos:
        name = photo.path.relative_to(root).as_posix()
        lines.append(json.dumps({"item_id": name, "category": photo.category, "image": name}) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return read_catalogue(path, root)
