"""A published snapshot of embeddings that are already there, by the indexer's own stages.

`python -m benchmarks.given_snapshot --embeddings FILE.npy --items FILE.jsonl --data DIR`; the items have no pictures.
"""

import argparse
import hashlib
import json
import time
from pathlib import Path

import numpy as np

from indexer.build_partitions import plan_partitions
from indexer.choose_base import choose_base
from indexer.choose_classifier import choose_classifier
from indexer.embed import EmbeddedCatalogue
from indexer.held_out import HeldOut
from indexer.publish import set_current, write_snapshot
from indexer.read_catalogue import Catalogue
from indexer.report import SilentReporter
from indexer.settings import BuildSettings
from indexer.snapshot_content import SnapshotContent, new_snapshot_id
from shared.catalogue import Item
from shared.snapshot import DataDirectory


def main() -> None:
    """Build it, and print how long that took."""
    parser = argparse.ArgumentParser("python -m benchmarks.given_snapshot", description=__doc__)
    parser.add_argument("--embeddings", type=Path, required=True, help="(n, dim) float32, unit rows")
    parser.add_argument("--items", type=Path, required=True, help="JSON lines with item_id and category, one a row")
    parser.add_argument("--data", type=Path, required=True, help="where the snapshot is published")
    options = parser.parse_args()
    started = time.perf_counter()
    build_given(options.embeddings, options.items, options.data)
    print(f"{time.perf_counter() - started:.1f} s")


def build_given(embeddings: Path, items: Path, data: Path) -> None:
    """Build and publish.

    Args:
        embeddings: `.npy`, `(n, dim)` float32, unit rows; mapped, never read as a whole.
        items: JSON lines, an item a row: `item_id` and `category`.
        data: the data directory.
    """
    settings = BuildSettings(items, data, backbone="efficientnet_lite0", augmentations=0, report="off")
    directory, reporter = DataDirectory(data), SilentReporter()
    directory.snapshots.mkdir(parents=True)
    rows = np.load(embeddings, mmap_mode="r")
    described = [json.loads(line) for line in items.read_text(encoding="utf-8").splitlines()]
    shown = tuple(Item(one["item_id"], one["category"], (f"{one['item_id']}.jpg",)) for one in described)
    digests = tuple(hashlib.sha256(one.item_id.encode()).digest() for one in shown)
    embedded = EmbeddedCatalogue(shown, np.arange(len(rows)), digests, rows[:, np.newaxis], (), len(rows), "given")
    base = choose_base(settings, None, Catalogue(items, items.parent, shown, (), ()), reporter)
    partitions, indexed = plan_partitions(embedded, "original", None)
    held_out = HeldOut.of(embedded, settings.seed)
    chosen = choose_classifier(settings, None, embedded, held_out, base, reporter)
    content = SnapshotContent(base, embedded, chosen, held_out, partitions, indexed, None, items.parent, settings)
    with reporter.stage("") as stage:
        manifest = write_snapshot(directory, lambda paths: content.write(paths, new_snapshot_id([]), stage, print))
    set_current(directory, manifest.snapshot_id)


if __name__ == "__main__":
    main()
