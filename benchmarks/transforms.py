"""Whether a catalogue photo is found again after what happens to photos, with and without indexed augmented copies.

Two snapshots of the training photos, one with `--index-views original`, one with `all`. Photos of the catalogue are the
queries: unchanged, rotated by 10° (corners white, or cropped to the largest rectangle without them), mirrored, cropped
to 85 % of each side, saved again at JPEG quality 40. They go through the same decoding as an upload. For each change:

- the share whose item is first, and among the first ten, in a search of the predicted category;
- the share whose item is among the first ten of its own category: what is missing above is the classifier's doing.

Items with the same score as the item sought don't count as before it: some photos are in the catalogue twice. The
classifier has learned these very photos, so it costs less here than with new ones (`indexer evaluate`).
"""

import hashlib
import math
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.build_process import build_snapshot
from benchmarks.options import option_parser
from benchmarks.photo_changes import CHANGES
from benchmarks.photos import list_photos, sample, write_catalogue
from benchmarks.rows import print_records, store
from shared.catalogue import IndexedItem
from shared.images import ImageLimits, decode_image, to_pixels
from shared.partition import Partition, partition_file
from shared.snapshot import DataDirectory, Snapshot
from shared.vectors import Vectors

_THREADS = os.cpu_count() or 1
_TOP_K = 10
_TIE = 1e-6


@dataclass(frozen=True)
class Found:
    """How often queries of one kind found the photo that they were made of.

    Attributes:
        index_views: what is indexed.
        change: what was done to the photo.
        first: share whose item is first in a search of the predicted category.
        in_10: …among the first ten.
        own_category_first: share whose item is first in a search of its own category.
        own_category_in_10: …among the first ten.
        category_accuracy: share whose predicted category is the item's.
        median_score: that queries have with their own item.
        lowest_score: the smallest of these.
    """

    index_views: str
    change: str
    first: float
    in_10: float
    own_category_first: float
    own_category_in_10: float
    category_accuracy: float
    median_score: float
    lowest_score: float


@dataclass(frozen=True)
class Size:
    """What a snapshot's index holds.

    Attributes:
        index_views: what is indexed.
        items: how many.
        rows: embeddings.
        partition_bytes: of all index files.
    """

    index_views: str
    items: int
    rows: int
    partition_bytes: int


def main() -> None:
    """Build or take the snapshots, search, print and store."""
    parser = option_parser("transforms", __doc__)
    parser.add_argument("--data-original", type=Path, metavar="DIR", help="a data directory built with original views")
    parser.add_argument("--data-all", type=Path, metavar="DIR", help="one of the same catalogue built with all views")
    parser.add_argument("--queries", type=int, metavar="N", help="catalogue photos to search by (default: 400)")
    options = parser.parse_args()
    queries = options.queries or (24 if options.smoke else 400)
    with tempfile.TemporaryDirectory(prefix="parecido-benchmark-") as directory:
        given = {"original": options.data_original, "all": options.data_all}
        data = {
            views: known or _built(options.photos, options.smoke, Path(directory, views), views)
            for views, known in given.items()
        }
        sizes, found = [], []
        for views, path in data.items():
            snapshot, size = _open(path, views)
            sizes.append(size)
            found += [_search(snapshot, views, change, queries) for change in CHANGES]
            snapshot.close()
    print_records("Index", [asdict(size) for size in sizes])
    print_records(f"{queries} photos of the catalogue as queries", [asdict(one) for one in found])
    figures = {"index": [asdict(size) for size in sizes], "found": [asdict(one) for one in found]}
    store("transforms", options.smoke, {"queries": queries, **figures})


def _built(photos: Path, smoke: bool, data: Path, views: str) -> Path:
    train = list_photos(photos, "train")
    catalogue = write_catalogue(sample(train, 120 if smoke else len(train)), photos, data.with_suffix(".jsonl"))
    build_snapshot(catalogue, data, "--index-views", views)
    return data


def _open(data: Path, views: str) -> tuple[Snapshot, Size]:
    directory = DataDirectory(data)
    paths = directory.paths(directory.current_id())
    snapshot = Snapshot.open(paths, _THREADS)
    if snapshot.manifest.index_views != views:
        raise SystemExit(f"{data} was built with --index-views {snapshot.manifest.index_views}; wanted {views}")
    files = [paths.partitions / partition_file(category) for category in snapshot.partitions]
    rows = sum(entry.rows for entry in snapshot.manifest.categories)
    return snapshot, Size(views, len(snapshot.items), rows, sum(file.stat().st_size for file in files))


def _search(snapshot: Snapshot, views: str, change: str, count: int) -> Found:
    """Search by `count` of the snapshot's items, the same ones for all snapshots of a catalogue."""
    items = sorted(snapshot.items, key=lambda indexed: indexed.item.item_id)
    chosen = np.random.default_rng(0).permutation(len(items))[:count]
    sought = [items[place] for place in chosen]
    root = Path(snapshot.manifest.image_root)

    def embed(indexed: IndexedItem) -> tuple[Vectors, list[str]]:
        upload = CHANGES[change](root / indexed.item.images[0])
        embedding = snapshot.embedder.embed(to_pixels(decode_image(upload, ImageLimits()))[np.newaxis])
        return embedding, snapshot.items.categories_of(hashlib.sha256(upload).digest())

    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(embed, sought))
    embeddings = np.concatenate([embedding for embedding, _ in found])
    places = snapshot.classifier.probabilities(embeddings).argmax(axis=1)
    # As the service does: the very file of a catalogue image counts as its item's category.
    predicted = [
        known[0] if known else snapshot.classifier.categories[place]
        for (_, known), place in zip(found, places, strict=True)
    ]
    own = [indexed.item.category for indexed in sought]
    strict = _ranks(snapshot, sought, embeddings, predicted)
    within = _ranks(snapshot, sought, embeddings, own)
    scores = [
        _own_score(snapshot.partition(category), indexed, query)
        for category, indexed, query in zip(own, sought, embeddings, strict=True)
    ]
    return Found(
        index_views=views,
        change=change,
        first=float(np.mean(strict == 1)),
        in_10=float(np.mean(strict <= _TOP_K)),
        own_category_first=float(np.mean(within == 1)),
        own_category_in_10=float(np.mean(within <= _TOP_K)),
        category_accuracy=float(np.mean([a == b for a, b in zip(predicted, own, strict=True)])),
        median_score=float(np.median(scores)),
        lowest_score=min(scores),
    )


def _ranks(
    snapshot: Snapshot, sought: Sequence[IndexedItem], embeddings: Vectors, categories: Sequence[str]
) -> NDArray[np.float64]:
    """`(n,)`: the rank of each item in a search of its category; infinite where it is not among the hits."""
    ranks = np.full(len(sought), math.inf)
    for place, (indexed, category) in enumerate(zip(sought, categories, strict=True)):
        hits = snapshot.partition(category).search(embeddings[place : place + 1], _TOP_K)[0]
        own = next((hit.score for hit in hits if hit.item_number == indexed.number), None)
        if own is not None:
            ranks[place] = 1 + sum(hit.score > own + _TIE for hit in hits)
    return ranks


def _own_score(partition: Partition, indexed: IndexedItem, query: Vectors) -> float:
    rows = np.flatnonzero(partition.item_numbers() == indexed.number)
    return float((partition.embeddings(rows.tolist()) @ query).max())


if __name__ == "__main__":
    main()
