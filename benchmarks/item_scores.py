"""Whether an item with several pictures should be scored by its best one, or by a mean over them.

Every training photo is made an item of three pictures, in two ways: with two augmented copies, as the indexer makes
them, or with two details, as shops show them (60 % of each side, from the top left and from the bottom right).
Changed photos of some items are the queries, and another detail (from the top right).
All items are ranked, whatever their category, by

- the original alone,
- the best of the three, as the service does,
- the mean of the best two, the mean of all three.

For each: the share of the queries whose item is first, and the mean reciprocal rank.
"""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.harness.embedded_photos import embed_uploads, open_lite0
from benchmarks.harness.options import option_parser
from benchmarks.harness.photos import Photo, list_photos, sample
from benchmarks.harness.rows import print_records, store
from indexer.embedding.augmentation import Augmentation
from indexer.evaluation.photo_edits import CHANGES
from shared.images.decode import ImageLimits, decode_image, to_pixels
from shared.model.embedder import LiteRtEmbedder
from shared.vectors import Vectors

_THREADS = os.cpu_count() or 1
_DETAIL = 0.6
_TIE = 1e-6

_Scores = NDArray[np.float32]
"""`(n_queries, n_items, n_pictures)` or, of items, `(n_queries, n_items)`."""

_WAYS: Mapping[str, Callable[[_Scores], _Scores]] = {
    "original alone": lambda scores: scores[:, :, 0],
    "best": lambda scores: scores.max(axis=2),
    "mean of the best two": lambda scores: np.sort(scores, axis=2)[:, :, -2:].mean(axis=2),
    "mean": lambda scores: scores.mean(axis=2),
}


def main() -> None:
    """Embed, rank, print and store."""
    parser = option_parser("item_scores", __doc__)
    parser.add_argument("--queries", type=int, default=400, help="items that are searched for (default: 400)")
    options = parser.parse_args()
    photos = list_photos(options.photos, "train")
    photos = sample(photos, 150) if options.smoke else photos
    chosen = np.random.default_rng(0).permutation(len(photos))[: 24 if options.smoke else options.queries]
    sought = np.sort(chosen).tolist()
    embedder = open_lite0()
    items = {
        "augmented copies": _with_copies(embedder, photos),
        "details": _with_details(embedder, photos),
    }
    changes = {
        **{name: change for name, change in CHANGES.items() if name != "unchanged"},
        "another detail": _top_right,
    }
    rows = []
    for name, change in changes.items():
        queries = embed_uploads(embedder, [photos[place] for place in sought], change)
        for kind, pictures in items.items():
            scores = np.stack([queries @ pictures[:, place].T for place in range(pictures.shape[1])], axis=2)
            rows += [
                {"item's pictures": kind, "query": name, "scored by": way, **_figures(score(scores), sought)}
                for way, score in _WAYS.items()
            ]
    print_records(f"{len(sought)} queries, {len(photos)} items", rows)
    summary = [
        {"item's pictures": kind, "scored by": way, **_means(rows, kind, way)} for kind in items for way in _WAYS
    ]
    print_records("Means over the queries", summary)
    store("item_scores", options.smoke, {"items": len(photos), "queries": len(sought), "found": rows})


def _with_copies(embedder: LiteRtEmbedder, photos: Sequence[Photo]) -> Vectors:
    """`(n_photos, 3, dim)` float32: each photo and its augmented copies."""

    def embed(photo: Photo) -> Vectors:
        data = photo.path.read_bytes()
        pixels = to_pixels(decode_image(data, ImageLimits()))
        return embedder.embed(np.stack(Augmentation(copies=2).views(pixels, hashlib.sha256(data).digest())))

    with ThreadPoolExecutor(_THREADS) as pool:
        return np.stack(list(pool.map(embed, photos)))


def _with_details(embedder: LiteRtEmbedder, photos: Sequence[Photo]) -> Vectors:
    """`(n_photos, 3, dim)` float32: each photo and two details of it."""
    changes = (Path.read_bytes, _top_left, _bottom_right)
    return np.stack([embed_uploads(embedder, photos, change) for change in changes], axis=1)


def _top_left(path: Path) -> bytes:
    return _detail(path, 0, 0)


def _bottom_right(path: Path) -> bytes:
    return _detail(path, 1 - _DETAIL, 1 - _DETAIL)


def _top_right(path: Path) -> bytes:
    return _detail(path, 1 - _DETAIL, 0)


def _detail(path: Path, left: float, top: float) -> bytes:
    """A part of a photo, which begins at these shares of its width and height."""
    file = BytesIO()
    with Image.open(path) as image:
        width, height = image.size
        box = (left * width, top * height, (left + _DETAIL) * width, (top + _DETAIL) * height)
        image.convert("RGB").crop([round(edge) for edge in box]).save(file, "JPEG", quality=92)  # type: ignore[arg-type]
    return file.getvalue()


def _figures(scores: _Scores, sought: Sequence[int]) -> dict[str, float]:
    own = scores[np.arange(len(sought)), sought]
    ranks = 1 + (scores > own[:, np.newaxis] + _TIE).sum(axis=1)
    return {"first": float(np.mean(ranks == 1)), "reciprocal rank": float(np.mean(1 / ranks))}


def _means(rows: Sequence[Mapping[str, object]], kind: str, way: str) -> dict[str, float]:
    chosen = [row for row in rows if (row["item's pictures"], row["scored by"]) == (kind, way)]
    return {name: float(np.mean([row[name] for row in chosen])) for name in ("first", "reciprocal rank")}


if __name__ == "__main__":
    main()
