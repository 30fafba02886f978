"""Labelled photos on disk, and catalogues made of them."""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from indexer.catalogue.model import Catalogue
from indexer.catalogue.reader import read_catalogue
from shared.images.formats import SUFFIXES

SPLITS = ("train", "validation")
_EXPECTED = (
    "give --photos DIR or PHOTOS=DIR, a directory with train/<category>/*.jpg and validation/<category>/*.jpg,"
    " such as github.com/alexeygrigorev/clothing-dataset-small"
)


@dataclass(frozen=True)
class Photo:
    """A labelled photo.

    Attributes:
        path: Image file.
        category: Name of its folder.
    """

    path: Path
    category: str


def list_photos(photos: Path | None, *splits: str) -> list[Photo]:
    """Return the photos in `photos/<split>/<category>/`, sorted.

    Args:
        photos: Value of `--photos`.
        splits: Some of `SPLITS`; all by default.

    Raises:
        SystemExit: No directory is given, or it has no photos in this layout.
    """
    if photos is None:
        raise SystemExit("this benchmark needs photos: " + _EXPECTED)
    listed = [
        Photo(path, path.parent.name)
        for split in splits or SPLITS
        for path in sorted((photos / split).glob("*/*"))
        if path.suffix.lower() in SUFFIXES
    ]
    if not listed:
        raise SystemExit(f"no photos in {photos}: " + _EXPECTED)
    return listed


def sample(photos: Sequence[Photo], count: int, seed: int = 0) -> list[Photo]:
    """Return at most `count` random photos in their original order; the same seed gives the same photos."""
    chosen = random.Random(seed).sample(range(len(photos)), min(count, len(photos)))  # noqa: S311
    return [photos[index] for index in sorted(chosen)]


def write_catalogue(photos: Sequence[Photo], root: Path, path: Path) -> Catalogue:
    """Write a JSON-lines catalogue with one item per photo, and read it back.

    Args:
        photos: Photos below `root`.
        root: Directory that image paths, and so item ids, are relative to.
        path: File to write.
    """
    lines = []
    for photo in photos:
        name = photo.path.relative_to(root).as_posix()
        lines.append(json.dumps({"item_id": name, "category": photo.category, "image": name}) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return read_catalogue(path, root)
