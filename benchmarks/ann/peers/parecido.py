"""Ours: a snapshot with a partition a category, mapped."""

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
EFFORTS: list[dict[str, Any]] = [{}]


def versions() -> dict[str, str]:
    """Of what does the work."""
    return {"parecido": __version__, "faiss-cpu": version("faiss-cpu")}


def build(rows: NDArray[np.float32], categories: NDArray[np.int64], directory: Path, settings: dict[str, Any]) -> None:
    """A whole snapshot: besides the partitions the base's export, the classifier, the items, the report."""
    assert isinstance(rows, np.memmap)
    embeddings = Path(str(rows.filename))
    files = ["--embeddings", str(embeddings), "--items", str(embeddings.with_name("items.jsonl"))]
    command = [sys.executable, "-m", "benchmarks.ann.given_snapshot", *files, "--data", str(directory)]
    command += [option for name, value in settings.items() for option in (f"--{name}", str(value))]
    subprocess.run(command, check=True)


class Opened:
    """The snapshot; an item's number in it is its row."""

    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        faiss.omp_set_num_threads(1)  # as in the service
        data = DataDirectory(directory)
        self._partitions = Snapshot.open(data.paths(data.current_id()), interpreters=1).partitions

    def search(self, query: NDArray[np.float32], category: int, k: int, effort: dict[str, Any]) -> Any:
        """Row numbers of the nearest."""
        hits = self._partitions[f"category-{category}"].search(query[np.newaxis], k)[0]
        return [hit.item_number for hit in hits]
