"""A build's own estimate and the truth on photos from elsewhere, with the catalogue's words and without.

For each seed the training part is built with the product's own command, once with `--words auto` and once with `none`,
and evaluated on the validation part:

- accuracy, calibration and `probe: auto`, as the build estimates them and as they are;
- where photos have titles: the share whose nearest item has the same title, in a strict search and given the right
  category; and the share of titles that find a photo of theirs first, and among five, of photos that were never seen
  with their words.

Intervals are 95 %, over the photos or titles of all seeds together, which are the same photos each time.
"""

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.build_process import build
from benchmarks.harness.embedded_photos import THREADS
from benchmarks.harness.options import option_parser
from benchmarks.harness.rows import print_records, store
from indexer.catalogue.reader import read_catalogue
from indexer.console.progress import SilentReporter
from indexer.evaluation.evaluate import evaluate
from indexer.evaluation.labelled_photos import embed_query
from shared.catalogue.items import Item
from shared.retrieval.query_pictures import QueryPictures
from shared.retrieval.search_options import SearchOptions
from shared.retrieval.searcher import Searcher
from shared.snapshot.data_directory import DataDirectory
from shared.snapshot.snapshot import Snapshot
from shared.vectors import Vectors
from shared.words.text_encoder import TextEncoder

_TITLE = "title"


def main() -> None:
    """Build, evaluate, print and store."""
    parser = option_parser("quality.unseen_photos", __doc__)
    parser.add_argument("--seeds", type=int, default=3, help="number of builds of each kind (default: 3)")
    parser.add_argument("--build", default="", help="further options of `indexer build`, for example '--side 224'")
    options = parser.parse_args()
    seeds = 1 if options.smoke else options.seeds
    rows = []
    for words in ("none", "auto"):
        with tempfile.TemporaryDirectory(prefix="parecido-benchmark-") as data:
            rows += [_row(options, Path(data), words, seed) for seed in range(seeds)]
    print_records("builds, evaluated on photos from elsewhere", rows)
    means = [_mean([row for row in rows if row["words"] == words]) for words in ("none", "auto")]
    print_records(f"means of {seeds} seeds", means)
    store("unseen_photos", options.smoke, {"photos": str(options.photos), "build": options.build, "rows": rows})


def _row(options: argparse.Namespace, data: Path, words: str, seed: int) -> dict[str, Any]:
    """Build with a seed; later ones find the embeddings of the first in the cache, but for their augmented copies."""
    train, validation = _part(options.photos, "train"), _part(options.photos, "validation")
    extra = [*options.build.split(), "--words", words, "--seed", str(seed), "--retrain", "--force", "--report", "off"]
    build(data, "--catalogue", str(train), *extra)
    directory = DataDirectory(data)
    paths = directory.paths(directory.current_id())
    snapshot = Snapshot.open(paths, THREADS)
    with closing(snapshot):
        figures = evaluate(snapshot, validation, THREADS, SilentReporter())
        own = snapshot.manifest.classifier
        row: dict[str, Any] = {
            "words": words,
            "seed": seed,
            "own_estimate": own["category_accuracy"],
            "margin": own.get("category_accuracy_margin"),
            "random_split": own.get("random_split_accuracy"),
            "category_accuracy": figures.category_accuracy,
            "ece": figures.expected_calibration_error,
            "auto": figures.probe_auto_coverage,
            "partitions": figures.probe_auto_partitions,
            "known": figures.known_share,
        }
        items = read_catalogue(validation)
        titled = [item for item in items.items if _TITLE in item.metadata]
        encoder = TextEncoder.open(paths.text_encoder) if paths.text_encoder.exists() else None
        return row | (_of_titles(snapshot, encoder, titled, items.image_root) if titled else {})


def _part(photos: Path, part: str) -> Path:
    listed = photos / f"{part}.jsonl"
    return listed if listed.exists() else photos / part


def _of_titles(snapshot: Snapshot, encoder: TextEncoder | None, items: Sequence[Item], root: Path) -> dict[str, float]:
    queries = [embed_query(snapshot, (root / item.images[0]).read_bytes()) for item in items]
    searcher = Searcher(snapshot)

    def same_title(query: QueryPictures, item: Item, category: str | None) -> bool:
        hits = searcher.search(query, SearchOptions(top_k=1, category=category)).hits
        return bool(hits) and hits[0].item.metadata.get(_TITLE) == item.metadata[_TITLE]

    pairs = list(zip(queries, items, strict=True))
    return {
        "title_strict": float(np.mean([same_title(query, item, None) for query, item in pairs])),
        "title_in_category": float(np.mean([same_title(query, item, item.category) for query, item in pairs])),
        **_of_texts(snapshot, encoder, items, np.concatenate([query.vectors[:1] for query in queries])),
    }


def _of_texts(
    snapshot: Snapshot, encoder: TextEncoder | None, items: Sequence[Item], photos: Vectors
) -> dict[str, float]:
    """The share of titles that find one of their photos first, and among five, by embeddings alone."""
    if encoder is None:
        return {"text_first": float("nan"), "text_five": float("nan")}
    titles = np.array([item.metadata[_TITLE] for item in items])
    first, five = [], []
    for title in np.unique(titles):
        text = encoder.embed(str(title))
        query = text if snapshot.projection is None else snapshot.projection.apply(text)
        nearest = np.argsort(-(query @ photos.T)[0], kind="stable")[:5]
        first.append(titles[nearest[0]] == title)
        five.append((titles[nearest] == title).any())
    return {"text_first": float(np.mean(first)), "text_five": float(np.mean(five))}


def _mean(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    names = [name for name in rows[0] if name not in ("words", "seed")]
    means = {name: float(np.mean([row[name] for row in rows])) for name in names if rows[0][name] is not None}
    return {"words": rows[0]["words"], **means}


if __name__ == "__main__":
    main()
