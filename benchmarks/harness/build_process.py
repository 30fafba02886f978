"""Run `python -m indexer build` as a user does, and measure its time and peak memory (Linux)."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.harness.options import REPOSITORY
from indexer.catalogue.model import Catalogue

SMOKE = ("--augmentations", "0", "--report", "off")
"""Build options of smoke runs: a third of the views, no report."""
_WATCH_S = 0.25


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Build:
    """A successful build.

    Attributes:
        summary: The JSON summary.
        process_s: Run time of the process.
        peak_mb: Peak resident memory.
    """

    summary: dict[str, Any]
    process_s: float
    peak_mb: float


def build_snapshot(catalogue: Catalogue, data: Path, *options: str, watch: Callable[[], None] = _nothing) -> Build:
    """Index a catalogue read from a file; see `build`."""
    where = ("--catalogue", str(catalogue.path), "--image-root", str(catalogue.image_root))
    return build(data, *where, *options, watch=watch)


def build(data: Path, *options: str, watch: Callable[[], None] = _nothing) -> Build:
    """Build with EfficientNet-Lite0, whose weights are installed.

    Args:
        data: Data directory; cached embeddings in it are reused.
        options: Options of `indexer build`.
        watch: Called four times a second while the process runs.
    """
    command = [sys.executable, "-m", "indexer", "build", "--json", "--backbone", "efficientnet_lite0"]
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        started = time.perf_counter()
        process = subprocess.Popen(
            [*command, "--data", str(data), *options], cwd=REPOSITORY, stdout=out, stderr=err, text=True
        )
        while (ended := os.wait4(process.pid, os.WNOHANG))[0] == 0:
            watch()
            time.sleep(_WATCH_S if time.perf_counter() - started > 10 * _WATCH_S else 0.01)
        process_s = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(ended[1])
        out.seek(0)
        err.seek(0)
        if process.returncode != 0:
            raise SystemExit(f"the build failed with {process.returncode}:\n{err.read()}")
        return Build(json.loads(out.read().splitlines()[-1]), process_s, ended[2].ru_maxrss / 1024)
