"""Build a snapshot of precomputed vectors, as `indexer build --embeddings` does.

`python -m benchmarks.ann.precomputed_snapshot --embeddings FILE.npy --items FILE.jsonl --data DIR`;
the items have no images.
"""

import argparse
import time
from pathlib import Path

from indexer.console.progress import SilentReporter
from indexer.pipeline import build
from indexer.settings import BuildSettings


def main() -> None:
    """Build the snapshot and print the time taken."""
    parser = argparse.ArgumentParser("python -m benchmarks.ann.precomputed_snapshot", description=__doc__)
    parser.add_argument("--embeddings", type=Path, required=True, help="(n, dim) float32")
    parser.add_argument("--items", type=Path, required=True, help="JSON lines (item_id, category), one per row")
    parser.add_argument("--data", type=Path, required=True, help="where the snapshot is published")
    parser.add_argument("--vectors", default="float32", help="how embeddings are kept")
    options = parser.parse_args()
    started = time.perf_counter()
    build_precomputed(options.embeddings, options.items, options.data, options.vectors)
    print(f"{time.perf_counter() - started:.1f} s")


def build_precomputed(embeddings: Path, items: Path, data: Path, vectors: str = "float32") -> None:
    """Build and publish; the arguments are those of the command. Image queries work, with EfficientNet-Lite0."""
    settings = BuildSettings(
        items, data, backbone="efficientnet_lite0", augmentations=0, vectors=vectors, embeddings=embeddings, force=True
    )
    build(settings, SilentReporter())


if __name__ == "__main__":
    main()
