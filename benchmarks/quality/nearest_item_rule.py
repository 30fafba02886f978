"""How near an item has to be to count more than an unsure classifier: what its ratio of distances brings, and costs.

For each ratio, of a snapshot of the training photos: the share of 400 changed photos of the catalogue whose item is
among the first ten of a strict search; of the validation photos, none of which is in the catalogue, how many change
their category by it, and the share whose category is right. And the processor time of such a search, with and without.
"""

import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness.build_process import build_snapshot
from benchmarks.harness.embedded_photos import THREADS, embed_uploads
from benchmarks.harness.options import option_parser
from benchmarks.harness.photos import Photo, list_photos, sample, write_catalogue
from benchmarks.harness.rows import print_records, store
from indexer.evaluation.photo_edits import EDITS
from search_service.engine.engine import Engine
from shared.retrieval.nearest_item_rule import strict_hits
from shared.retrieval.search_options import SearchOptions
from shared.snapshot.data_directory import DataDirectory
from shared.snapshot.snapshot import Snapshot
from shared.vectors import Vectors

_RATIOS = (0.0, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9)
_CHANGES = ("rotated 15°, white corners", "cropped to 70 %", "30 % darker", "15°, 70 %, mirrored, darker, JPEG 30")
_TOP_K = 10
_ROUNDS = 5


@dataclass(frozen=True)
class _Queries:
    """Photos of known categories: `(n, dim)` float32, and the number of the item each shows, -1 for none."""

    embeddings: Vectors
    categories: Sequence[str]
    items: Sequence[int]


def main() -> None:
    """Build or take a snapshot, search, print and store."""
    parser = option_parser("quality.nearest_item_rule", __doc__)
    parser.add_argument("--data", type=Path, metavar="DIR", help="a data directory of the training photos")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="parecido-benchmark-") as directory:
        data = DataDirectory(options.data or Path(directory, "data"))
        if options.data is None:
            train = list_photos(options.photos, "train")
            train = sample(train, 120) if options.smoke else train
            build_snapshot(write_catalogue(train, options.photos, Path(directory, "catalogue.jsonl")), data.root)
        snapshot = Snapshot.open(data.paths(data.current_id()), THREADS)
        new = list_photos(options.photos, "validation")
        validation = _embedded(snapshot, sample(new, 20) if options.smoke else new, "unchanged")
        changed = {change: _of_catalogue(snapshot, change, 20 if options.smoke else 400) for change in _CHANGES}
        rows = [_row(snapshot, ratio, changed, validation) for ratio in _RATIOS]
        times = _times(snapshot, validation.embeddings)
    print_records("Ratio of distances", rows)
    print_records("Processor time of a strict search by an embedding, ms", [times])
    store("recognition", options.smoke, {"rows": rows, "times": times})


def _embedded(snapshot: Snapshot, photos: Sequence[Photo], change: str) -> _Queries:
    embeddings = embed_uploads(snapshot.embedder, photos, EDITS[change])
    return _Queries(embeddings, [photo.category for photo in photos], [-1] * len(photos))


def _of_catalogue(snapshot: Snapshot, change: str, count: int) -> _Queries:
    """Changed photos of so many items."""
    every = sorted(snapshot.items, key=lambda indexed: indexed.item.item_id)
    chosen = [every[place] for place in np.random.default_rng(0).permutation(len(every))[:count]]
    root = Path(snapshot.manifest.image_root)
    found = _embedded(snapshot, [Photo(root / one.item.images[0], one.item.category) for one in chosen], change)
    return _Queries(found.embeddings, found.categories, [one.number for one in chosen])


def _row(snapshot: Snapshot, ratio: float, changed: dict[str, _Queries], validation: _Queries) -> dict[str, float]:
    """What a ratio brings; 0 is none."""
    head = snapshot.classifier
    row: dict[str, float] = {"ratio": ratio}
    for change, queries in changed.items():
        hits = [strict_hits(snapshot, one[np.newaxis], _TOP_K, ratio) for one in queries.embeddings]
        found = [any(hit.item_number == item for hit in each) for each, item in zip(hits, queries.items, strict=True)]
        row[change] = float(np.mean(found))
    numbers = [strict_hits(snapshot, one[np.newaxis], 1, ratio)[0].item_number for one in validation.embeddings]
    predicted = [indexed.item.category for indexed in snapshot.items.by_numbers(numbers)]
    by_head = [head.categories[column] for column in head.logits(validation.embeddings).argmax(axis=1)]
    row["new photos changed"] = sum(one != other for one, other in zip(predicted, by_head, strict=True))
    row["category_accuracy"] = float(np.mean([p == t for p, t in zip(predicted, validation.categories, strict=True)]))
    return row


def _times(snapshot: Snapshot, embeddings: Vectors) -> dict[str, float]:
    """Without and with it, in turns; means, since most queries cost the same."""
    engine, options = Engine(snapshot), SearchOptions()
    engines = {"without": Engine(snapshot, probe_coverage=0.0), "with": engine}
    spent: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(_ROUNDS):
        for name, each in engines.items():
            began = time.process_time()
            for embedding in embeddings:
                each.search_embedding(embedding, options)
            spent[name].append(1000 * (time.process_time() - began) / len(embeddings))
    return {name: statistics.median(each) for name, each in spent.items()}


if __name__ == "__main__":
    main()
