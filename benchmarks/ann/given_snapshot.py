"""A published snapshot of drawn vectors, by `indexer build --embeddings`.

`python -m benchmarks.ann.given_snapshot --embeddings FILE.npy --items FILE.jsonl --data DIR`;
the items have no pictures.
"""

import argparse
import time
from pathlib import Path

from indexer.console.progress import SilentReporter
from indexer.pipeline import build
from indexer.settings import BuildSettings


def main() -> None:
    """Build it, and print how long that took."""
    parser = argparse.ArgumentParser("python -m benchmarks.ann.given_snapshot", description=__doc__)
    parser.add_argument("--embeddings", type=Path, required=True, help="(n, dim) float32")
    parser.add_argument("--items", type=Path, required=True, help="JSON lines with item_id and category, one a row")
    parser.add_argument("--data", type=Path, required=True, help="where the snapshot is published")
    parser.add_argument("--vectors", default="float32", help="how embeddings are kept")
    options = parser.parse_args()
    started = time.perf_counter()
    build_given(options.embeddings, options.items, options.data, options.vectors)
    print(f"{time.perf_counter() - started:.1f} s")


def build_given(embeddings: Path, items: Path, data: Path, vectors: str = "float32") -> None:
    """Build and publish; the arguments are those of the command. Images can be queries, by EfficientNet-Lite0."""
    settings = BuildSettings(
        items, data, backbone="efficientnet_lite0", augmentations=0, vectors=vectors, embeddings=embeddings, force=True
    )
    build(settings, SilentReporter())


if __name__ == "__main__":
    main()
