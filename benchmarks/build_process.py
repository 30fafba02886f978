"""`python -m indexer build` as a user runs it."""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.options import REPOSITORY
from indexer.read_catalogue import Catalogue


@dataclass(frozen=True)
class Build:
    """A build that ended well.

    Attributes:
        summary: what `--json` printed.
        process_s: seconds from start to end of the process.
    """

    summary: dict[str, Any]
    process_s: float


def build_snapshot(catalogue: Catalogue, data: Path, *options: str) -> Build:
    """Index a catalogue with EfficientNet-Lite0, whose weights are always there.

    Args:
        catalogue: read from a file.
        data: the data directory; fresh, or embeddings that are already known could be reused.
        options: further ones of `indexer build`.
    """
    command = [sys.executable, "-m", "indexer", "build", "--json", "--backbone", "efficientnet_lite0"]
    command += ["--catalogue", str(catalogue.path), "--image-root", str(catalogue.image_root), "--data", str(data)]
    started = time.perf_counter()
    done = subprocess.run([*command, *options], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    process_s = time.perf_counter() - started
    if done.returncode != 0:
        raise SystemExit(f"the build failed with {done.returncode}:\n{done.stderr}")
    return Build(json.loads(done.stdout.splitlines()[-1]), process_s)
