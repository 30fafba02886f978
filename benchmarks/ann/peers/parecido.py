"""Parecido: a snapshot with one memory-mapped partition per category."""

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from shared import __version__
from shared.snapshot.data_directory import DataDirectory
from shared.snapshot.snapshot import Snapshot

VARIANTS: dict[str, dict[str, Any]] = {"as built": {}, "int8": {"vectors": "int8"}}
SEARCH_PARAMS: list[dict[str, Any]] = [{}]


def versions() -> dict[str, str]:
    """Return the versions of the measured packages."""
    return {"parecido": __version__, "faiss-cpu": version("faiss-cpu")}


def build(rows: NDArray[np.float32], categories: NDArray[np.int64], directory: Path, settings: dict[str, Any]) -> None:
    """Build a complete snapshot: partitions, exported base, classifier, items and report."""
    assert isinstance(rows, np.memmap)
    embeddings = Path(str(rows.filename))
    files = ["--embeddings", str(embeddings), "--items", str(embeddings.with_name("items.jsonl"))]
    command = [sys.executable, "-m", "benchmarks.ann.precomputed_snapshot", *files, "--data", str(directory)]
    command += [option for name, value in settings.items() for option in (f"--{name}", str(value))]
    subprocess.run(command, check=True)


class Opened:
    """An open snapshot; item numbers equal row numbers."""

    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        faiss.omp_set_num_threads(1)  # as in the service
        data = DataDirectory(directory)
        self._partitions = Snapshot.open(data.paths(data.current_id()), interpreters=1).partitions

    def search(self, query: NDArray[np.float32], category: int, k: int, params: dict[str, Any]) -> Any:
        """Return the row numbers of the nearest neighbours."""
        hits = self._partitions[f"category-{category}"].search(query[np.newaxis], k)[0]
        return [hit.item_number for hit in hits]
