"""USearch: one index per category, each memory-mapped; half-precision vectors, as its documentation recommends."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from usearch.index import Index

VARIANTS: dict[str, dict[str, Any]] = {
    "f16": {"dtype": "f16", "connectivity": 16, "expansion_add": 200},
}
SEARCH_PARAMS = [{"expansion_search": ef} for ef in (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)]
_CHUNK = 16_384


def versions() -> dict[str, str]:
    """Return the versions of the measured packages."""
    return {"usearch": version("usearch")}


def build(rows: NDArray[np.float32], categories: NDArray[np.int64], directory: Path, settings: dict[str, Any]) -> None:
    """Write one file per category."""
    for category in np.unique(categories).tolist():
        members = np.flatnonzero(categories == category)
        index = Index(ndim=rows.shape[1], metric="ip", **settings)
        for start in range(0, len(members), _CHUNK):
            chunk = members[start : start + _CHUNK]
            index.add(chunk.astype(np.uint64), np.ascontiguousarray(rows[chunk]))
        index.save(str(directory / f"{category}.usearch"))


class Opened:
    """Every category's index."""

    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        self._indexes = {int(path.stem): Index.restore(str(path), view=True) for path in directory.glob("*.usearch")}

    def search(self, query: NDArray[np.float32], category: int, k: int, params: dict[str, Any]) -> Any:
        """Return the row numbers of the nearest neighbours."""
        index = self._indexes[category]
        index.expansion_search = max(k, params["expansion_search"])
        return index.search(query, k, threads=1).keys
