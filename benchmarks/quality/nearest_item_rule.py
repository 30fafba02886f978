"""The nearest-item ratio test: its effect by ratio, and its cost.

For each ratio, of a snapshot of the training photos: the share of 400 edited photos of the catalogue whose item is
among the first ten hits of a strict search; of the validation photos, none of which is in the catalogue, the number
whose category it changes, and the share whose category is right. And the processor time of a search with and without.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.harness.build_process import build_snapshot
from benchmarks.harness.embedded_photos import THREADS
from benchmarks.harness.options import option_parser
from benchmarks.harness.photos import Photo, list_photos, sample, write_catalogue
from benchmarks.harness.rows import print_records, store
from indexer.evaluation.labelled_photos import embed_query
from indexer.evaluation.photo_edits import EDITS
from shared.retrieval.query_pictures import QueryPictures
from shared.retrieval.search_options import SearchOptions
from shared.retrieval.searcher import Searcher
from shared.snapshot.data_directory import DataDirectory
from shared.snapshot.snapshot import Snapshot

_RATIOS = (0.0, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9)
_EDITS = ("rotated 15°, white corners", "cropped to 70 %", "30 % darker", "15°, 70 %, mirrored, darker, JPEG 30")
_TOP_K = 10
_ROUNDS = 5


@dataclass(frozen=True)
class _Photo:
    """A photo as a query, its category, and the id of the item that it shows, if it is in the catalogue."""

    query: QueryPictures
    category: str
    item_id: str | None = None


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
        validation = _new_photos(snapshot, sample(new, 20) if options.smoke else new)
        edited = {edit: _edited_photos(snapshot, edit, 20 if options.smoke else 400) for edit in _EDITS}
        rows = [_row(snapshot, ratio, edited, validation) for ratio in _RATIOS]
        times = _times(snapshot, validation)
    print_records("Ratio of distances", rows)
    print_records("Processor time of a strict search by an embedding, ms", [times])
    store("recognition", options.smoke, {"rows": rows, "times": times})


def _embed(snapshot: Snapshot, uploads: Sequence[Callable[[], bytes]]) -> list[QueryPictures]:
    with ThreadPoolExecutor(THREADS) as pool:
        return list(pool.map(lambda upload: embed_query(snapshot, upload()), uploads))


def _new_photos(snapshot: Snapshot, photos: Sequence[Photo]) -> list[_Photo]:
    queries = _embed(snapshot, [photo.path.read_bytes for photo in photos])
    return [_Photo(query, photo.category) for query, photo in zip(queries, photos, strict=True)]


def _edited_photos(snapshot: Snapshot, edit: str, count: int) -> list[_Photo]:
    """Edited photos of so many items."""
    every = sorted((indexed.item for indexed in snapshot.items), key=lambda item: item.item_id)
    items = [every[index] for index in np.random.default_rng(0).permutation(len(every))[:count]]
    root = Path(snapshot.manifest.image_root)
    queries = _embed(snapshot, [partial(EDITS[edit], root / item.images[0]) for item in items])
    return [_Photo(query, item.category, item.item_id) for query, item in zip(queries, items, strict=True)]


def _row(
    snapshot: Snapshot, ratio: float, edited: Mapping[str, Sequence[_Photo]], new: Sequence[_Photo]
) -> dict[str, float]:
    """The effect of a ratio; 0 switches the test off."""
    searcher, options = Searcher(snapshot, max_ratio=ratio), SearchOptions(_TOP_K)
    row: dict[str, float] = {"ratio": ratio}
    for edit, photos in edited.items():
        hits = [searcher.search(photo.query, options).hits for photo in photos]
        is_hit = [photo.item_id in [hit.item.item_id for hit in each] for photo, each in zip(photos, hits, strict=True)]
        row[edit] = float(np.mean(is_hit))
    predicted = [searcher.predict(photo.query).predicted.category for photo in new]
    most_probable = [searcher.classify(photo.query).predicted.category for photo in new]
    row["new photos changed"] = sum(one != other for one, other in zip(predicted, most_probable, strict=True))
    row["category_accuracy"] = float(np.mean([p == photo.category for p, photo in zip(predicted, new, strict=True)]))
    return row


def _times(snapshot: Snapshot, photos: Sequence[_Photo]) -> dict[str, float]:
    """Without and with the test, in turns; means, since most queries cost the same."""
    searchers = {"without": Searcher(snapshot, probe_coverage=0.0), "with": Searcher(snapshot)}
    spent: dict[str, list[float]] = {name: [] for name in searchers}
    for _ in range(_ROUNDS):
        for name, searcher in searchers.items():
            began = time.process_time()
            for photo in photos:
                searcher.search(photo.query, SearchOptions())
            spent[name].append(1000 * (time.process_time() - began) / len(photos))
    return {name: statistics.median(each) for name, each in spent.items()}


if __name__ == "__main__":
    main()
