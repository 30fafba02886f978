"""scikit-learn's NearestNeighbors, exact search as in the baseline notebook: one per category, in memory."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

VARIANTS: dict[str, dict[str, Any]] = {"brute": {"metric": "cosine", "algorithm": "brute"}}
SEARCH_PARAMS: list[dict[str, Any]] = [{}]


def versions() -> dict[str, str]:
    """Return the versions of the measured packages."""
    return {"scikit-learn": version("scikit-learn")}


def build(rows: NDArray[np.float32], categories: NDArray[np.int64], directory: Path, settings: dict[str, Any]) -> None:
    """Write one file per category."""
    for category in np.unique(categories).tolist():
        members = np.flatnonzero(categories == category)
        fitted = NearestNeighbors(**settings).fit(rows[members])
        joblib.dump((fitted, members), directory / f"{category}.joblib")


class Opened:
    """Every category's index."""

    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        self._fitted = {int(path.stem): joblib.load(path) for path in directory.glob("*.joblib")}

    def search(self, query: NDArray[np.float32], category: int, k: int, params: dict[str, Any]) -> Any:
        """Return the row numbers of the nearest neighbours."""
        fitted, members = self._fitted[category]
        return members[fitted.kneighbors(query[np.newaxis], k, return_distance=False)[0]]
