"""scikit-learn's NearestNeighbors, an exact search as a notebook does it: one a category, in memory."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

VARIANTS: dict[str, dict[str, Any]] = {"brute": {"metric": "cosine", "algorithm": "brute"}}
EFFORTS: list[dict[str, Any]] = [{}]


def versions() -> dict[str, str]:
    """Of what does the work."""
    return {"scikit-learn": version("scikit-learn")}


def build(rows: NDArray[np.float32], categories: NDArray[np.int64], directory: Path, settings: dict[str, Any]) -> None:
    """A file a category."""
    for category in np.unique(categories).tolist():
        members = np.flatnonzero(categories == category)
        fitted = NearestNeighbors(**settings).fit(rows[members])
        joblib.dump((fitted, members), directory / f"{category}.joblib")


class Opened:
    """Every category's index."""

    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        self._fitted = {int(path.stem): joblib.load(path) for path in directory.glob("*.joblib")}

    def search(self, query: NDArray[np.float32], category: int, k: int, effort: dict[str, Any]) -> Any:
        """Row numbers of the nearest."""
        fitted, members = self._fitted[category]
        return members[fitted.kneighbors(query[np.newaxis], k, return_distance=False)[0]]
