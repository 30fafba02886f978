"""hnswlib: one index per category, each in memory."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import hnswlib
import numpy as np
from numpy.typing import NDArray

VARIANTS: dict[str, dict[str, Any]] = {
    "M 16": {"M": 16, "ef_construction": 200},
    "M 32": {"M": 32, "ef_construction": 200},
}
SEARCH_PARAMS = [{"ef": ef} for ef in (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)]
_CHUNK = 16_384


def versions() -> dict[str, str]:
    """Return the versions of the measured packages."""
    return {"hnswlib": version("hnswlib")}


def build(rows: NDArray[np.float32], categories: NDArray[np.int64], directory: Path, settings: dict[str, Any]) -> None:
    """Write one file per category."""
    (directory / "dim").write_text(str(rows.shape[1]))
    for category in np.unique(categories).tolist():
        members = np.flatnonzero(categories == category)
        index = hnswlib.Index("ip", rows.shape[1])
        index.init_index(len(members), **settings)
        for start in range(0, len(members), _CHUNK):
            chunk = members[start : start + _CHUNK]
            index.add_items(rows[chunk], chunk)
        index.save_index(str(directory / f"{category}.bin"))


class Opened:
    """Every category's index."""

    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        dim = int((directory / "dim").read_text())
        self._indexes = {}
        for path in directory.glob("*.bin"):
            index = hnswlib.Index("ip", dim)
            index.load_index(str(path))
            index.set_num_threads(1)
            self._indexes[int(path.stem)] = index

    def search(self, query: NDArray[np.float32], category: int, k: int, params: dict[str, Any]) -> Any:
        """Return the row numbers of the nearest neighbours."""
        index = self._indexes[category]
        index.set_ef(max(k, params["ef"]))
        return index.knn_query(query, k)[0][0]
