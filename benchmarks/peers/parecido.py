"""Ours: the partitions of a snapshot, one a category, mapped."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from shared import __version__
from shared.partition import Partition

VARIANTS: dict[str, dict[str, Any]] = {"exact": {}}
EFFORTS: list[dict[str, Any]] = [{}]


def versions() -> dict[str, str]:
    """Of what does the work."""
    return {"parecido": __version__, "faiss-cpu": version("faiss-cpu")}


def build(rows: NDArray[np.float32], categories: NDArray[np.int64], directory: Path, settings: dict[str, Any]) -> None:
    """Temporary."""
    for category in np.unique(categories).tolist():
        members = np.flatnonzero(categories == category)
        Partition.build(str(category), rows[members], members).write(directory)


class Opened:
    """Every category's partition."""

    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        faiss.omp_set_num_threads(1)  # as in the service
        self._partitions = {int(p.stem): Partition.open(p.stem, directory) for p in directory.glob("*.faiss")}

    def search(self, query: NDArray[np.float32], category: int, k: int, effort: dict[str, Any]) -> Any:
        """Row numbers of the nearest."""
        return [hit.item_number for hit in self._partitions[category].search(query[np.newaxis], k)[0]]
