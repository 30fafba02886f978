"""Edited catalogue photos as queries: is the item a hit, with and without indexed augmented copies?

Two snapshots of the training photos, one with `--index-views original`, one with `all`. Photos of the catalogue are the
queries, changed as `indexer/evaluation/photo_edits.py` has it, and decoded as uploads are. For each change:

- the share whose item is first, and among the first ten, in a search of the predicted category, and with probe auto;
- the share whose item is among the first ten of its own category: what is missing above is the classifier's doing.

Items with the same score as the item sought don't count as before it: some photos are in the catalogue twice. The
classifier has learned these very photos, so it costs less here than with new ones (`indexer evaluate`).
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.harness.build_process import build_snapshot
from benchmarks.harness.options import option_parser
from benchmarks.harness.photos import list_photos, sample, write_catalogue
from benchmarks.harness.rows import print_records, store
from benchmarks.quality.edited_queries import search_by_edited
from indexer.evaluation.photo_edits import EDITS
from shared.index.partition_files import partition_file
from shared.snapshot.data_directory import DataDirectory
from shared.snapshot.snapshot import Snapshot

_THREADS = os.cpu_count() or 1


@dataclass(frozen=True)
class Size:
    """The contents of a snapshot's index.

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
    parser = option_parser("quality.transforms", __doc__)
    parser.add_argument("--data-original", type=Path, metavar="DIR", help="a data directory built with original views")
    parser.add_argument("--data-all", type=Path, metavar="DIR", help="one of the same catalogue built with all views")
    parser.add_argument("--queries", type=int, metavar="N", help="catalogue photos to search by (default: 400)")
    options = parser.parse_args()
    queries = options.queries or (24 if options.smoke else 400)
    with tempfile.TemporaryDirectory(prefix="parecido-benchmark-") as directory:
        data: dict[str, Path] = {}
        for views, known in {"original": options.data_original, "all": options.data_all}.items():
            data[views] = known or _built(options.photos, options.smoke, Path(directory, views), views, data)
        sizes, rows = [], []
        for views, path in data.items():
            snapshot, size = _open(path, views)
            sizes.append(size)
            rows += [search_by_edited(snapshot, views, change, queries) for change in EDITS]
            snapshot.close()
    print_records("Index", [asdict(size) for size in sizes])
    print_records(f"{queries} photos of the catalogue as queries", [asdict(one) for one in rows])
    figures = {"index": [asdict(size) for size in sizes], "found": [asdict(one) for one in rows]}
    store("transforms", options.smoke, {"queries": queries, **figures})


def _built(photos: Path, smoke: bool, data: Path, views: str, built: Mapping[str, Path]) -> Path:
    """Index the photos; what was `built` before is copied first, since its embeddings are the same."""
    for before in built.values():
        if before.parent == data.parent:
            shutil.copytree(before, data)
    train = list_photos(photos, "train")
    catalogue = write_catalogue(sample(train, 120 if smoke else len(train)), photos, data.with_suffix(".jsonl"))
    build_snapshot(catalogue, data, "--index-views", views)
    return data


def _open(data: Path, views: str) -> tuple[Snapshot, Size]:
    directory = DataDirectory(data)
    paths = directory.paths(directory.current_id())
    snapshot = Snapshot.open(paths, _THREADS)
    if snapshot.manifest.index_views != views:
        raise SystemExit(f"{data} was built with --index-views {snapshot.manifest.index_views}; expected {views}")
    files = [paths.partitions / partition_file(category) for category in snapshot.partitions]
    rows = sum(entry.rows for entry in snapshot.manifest.categories)
    return snapshot, Size(views, len(snapshot.items), rows, sum(file.stat().st_size for file in files))


if __name__ == "__main__":
    main()
