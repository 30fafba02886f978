"""A build's claims against the truth on photos from elsewhere, with the catalogue's words and without.

For each seed the training part is built by the product's own command, with `--words none` and with `--words auto`, and
evaluated on the validation part:

- accuracy, calibration and `probe: auto`, as the build claims them and as they are;
- where items have titles, the share of photos whose nearest item has their title, in a strict search and given the
  right category;
- edited photos of the catalogue, for the first seed: the share whose item is the first hit in its category, mean over
  the edits.

Intervals are for 95 %; those of a claim are over its groups.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.build_process import SMOKE, build
from benchmarks.harness.embedded_photos import THREADS
from benchmarks.harness.options import option_parser
from benchmarks.harness.rows import print_records, print_table, store
from benchmarks.quality.edited_queries import search_by_edited
from indexer.catalogue.reader import read_catalogue
from indexer.console.progress import SilentReporter
from indexer.evaluation.evaluate import evaluate
from indexer.evaluation.labelled_photos import embed_query
from indexer.evaluation.photo_edits import EDITS
from indexer.evaluation.retrieval_metrics import interval
from shared.catalogue.items import Item
from shared.retrieval.query_pictures import QueryPictures
from shared.retrieval.search_options import SearchOptions
from shared.retrieval.searcher import Searcher
from shared.snapshot.data_directory import DataDirectory
from shared.snapshot.snapshot import Snapshot

_TITLE = "title"
_EDITED = 200
_NAMES = ("words", "seed")
_SHARES = ("truth", "auto", "known", "title", "title in category")
"""Figures that are shares of the photos from elsewhere, and so have an interval."""


def main() -> None:
    """Build, evaluate, print and store."""
    parser = option_parser("quality.unseen", __doc__)
    parser.add_argument("--seeds", type=int, default=3, help="number of builds of each kind (default: 3)")
    parser.add_argument("--words", nargs="+", default=["none", "auto"], help="values of --words (default: none auto)")
    parser.add_argument("--build", default="", help="further options of `indexer build`, for example '--side 224'")
    options = parser.parse_args()
    if options.photos is None:
        parser.error("give --photos DIR with train/ and validation/, or with train.jsonl and validation.jsonl")
    rows, means = [], []
    for words in options.words:
        with tempfile.TemporaryDirectory(prefix="parecido-benchmark-") as data:
            rows += [_row(options, Path(data), words, seed) for seed in range(1 if options.smoke else options.seeds)]
        means.append(_mean([row for row in rows if row["words"] == words]))
    print_records("builds, evaluated on photos from elsewhere", rows)
    _print_means(means)
    store("unseen", options.smoke, {"photos": str(options.photos), "build": options.build, "rows": rows})


def _row(options: argparse.Namespace, data: Path, words: str, seed: int) -> dict[str, Any]:
    """Build with a seed; later ones find the embeddings of the first in the cache, but for their augmented copies."""
    train, validation = _part(options.photos, "train"), _part(options.photos, "validation")
    extra = [*options.build.split(), *(SMOKE if options.smoke else ())]
    settings = ["--words", words, "--seed", str(seed), "--retrain", "--force", "--report", "off", *extra]
    built = build(data, "--catalogue", str(train), *settings)
    directory = DataDirectory(data)
    with closing(Snapshot.open(directory.paths(directory.current_id()), THREADS)) as snapshot:
        figures = evaluate(snapshot, validation, THREADS, SilentReporter())
        claimed = snapshot.manifest.classifier
        row = {
            "words": words,
            "seed": str(seed),
            "build, s": built.process_s,
            "groups": claimed.get("groups"),
            "claimed": claimed["category_accuracy"],
            "± over groups": claimed.get("category_accuracy_margin"),
            "random split": claimed.get("random_split_accuracy"),
            "ECE, cross-validated": claimed.get("expected_calibration_error"),
            "photos": figures.queries,
            "truth": figures.category_accuracy,
            "ECE": figures.expected_calibration_error,
            "auto": figures.probe_auto_coverage,
            "partitions": figures.probe_auto_partitions,
            "known": figures.known_share,
            "edited photos": None if seed else _edited(snapshot, _EDITED // 8 if options.smoke else _EDITED),
        }
        return row | _of_titles(snapshot, validation)


def _part(photos: Path, part: str) -> Path:
    listed = photos / f"{part}.jsonl"
    return listed if listed.exists() else photos / part


def _edited(snapshot: Snapshot, n_photos: int) -> float:
    return float(np.mean([search_by_edited(snapshot, "", edit, n_photos).own_category_first for edit in EDITS]))


def _of_titles(snapshot: Snapshot, validation: Path) -> dict[str, float]:
    """The share of photos whose nearest item has their title; nothing where items have none."""
    catalogue = read_catalogue(validation)
    items = [item for item in catalogue.items if _TITLE in item.metadata]
    if not items:
        return {}
    queries = [embed_query(snapshot, (catalogue.image_root / item.images[0]).read_bytes()) for item in items]
    searcher = Searcher(snapshot)

    def share(category_of: Mapping[str, str | None]) -> float:
        pairs = zip(queries, items, strict=True)
        return float(np.mean([_is_found(searcher, query, item, category_of[item.item_id]) for query, item in pairs]))

    known = set(snapshot.partitions)
    given = {item.item_id: item.category if item.category in known else None for item in items}
    return {"title": share(dict.fromkeys(given)), "title in category": share(given)}


def _is_found(searcher: Searcher, query: QueryPictures, item: Item, category: str | None) -> bool:
    hits = searcher.search(query, SearchOptions(top_k=1, category=category)).hits
    return bool(hits) and hits[0].item.metadata.get(_TITLE) == item.metadata[_TITLE]


def _mean(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    measured = {name: [row[name] for row in rows if row[name] is not None] for name in rows[0] if name not in _NAMES}
    return {"words": rows[0]["words"]} | {name: float(np.mean(values)) for name, values in measured.items() if values}


def _print_means(means: Sequence[Mapping[str, Any]]) -> None:
    """Print a line per figure, with the interval that so few photos leave."""

    def shown(mean: Mapping[str, Any], name: str) -> str:
        value = mean[name]
        if name not in _SHARES:
            return f"{value:.3f}"
        low, high = interval(value, round(mean["photos"]))
        return f"{value:.3f} ({low:.3f} to {high:.3f})"

    lines = [[name, *(shown(mean, name) for mean in means)] for name in means[0] if name != "words"]
    print_table("means over the seeds", ["words", *(mean["words"] for mean in means)], lines)


if __name__ == "__main__":
    main()
