"""Chroma: one collection, filtered by category; or a collection per category."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import chromadb
import numpy as np
from chromadb.api.shared_system_client import SharedSystemClient
from numpy.typing import NDArray

VARIANTS: dict[str, dict[str, Any]] = {
    "filtered": {"apart": False, "max_neighbors": 16, "ef_construction": 200},
    "a collection per category": {"apart": True, "max_neighbors": 16, "ef_construction": 200},
}
SEARCH_PARAMS = [{"ef_search": ef} for ef in (10, 16, 32, 64, 128, 256, 512, 1024)]
_CHUNK = 1000


def versions() -> dict[str, str]:
    """Return the versions of the measured packages."""
    return {"chromadb": version("chromadb")}


def _client(directory: Path) -> Any:
    return chromadb.PersistentClient(str(directory), chromadb.Settings(anonymized_telemetry=False))


def build(rows: NDArray[np.float32], categories: NDArray[np.int64], directory: Path, settings: dict[str, Any]) -> None:
    """Collections of at most `_CHUNK` rows at a time."""
    client = _client(directory)
    hnsw = {"space": "ip", "max_neighbors": settings["max_neighbors"], "ef_construction": settings["ef_construction"]}
    groups = (
        {f"category-{one}": np.flatnonzero(categories == one) for one in np.unique(categories).tolist()}
        if settings["apart"]
        else {"all": np.arange(len(rows))}
    )
    for name, members in groups.items():
        collection = client.create_collection(name, embedding_function=None, configuration={"hnsw": hnsw})
        for start in range(0, len(members), _CHUNK):
            chunk = members[start : start + _CHUNK]
            metadata = None if settings["apart"] else [{"category": int(categories[row])} for row in chunk]
            collection.add([str(row) for row in chunk], rows[chunk], metadata)


class Opened:
    """The collections."""

    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        self._apart = settings["apart"]
        self._directory = directory
        self._params: dict[str, Any] = {}
        self._open()

    def search(self, query: NDArray[np.float32], category: int, k: int, params: dict[str, Any]) -> Any:
        """Return the row numbers of the nearest neighbours."""
        if params != self._params:
            self._set_params(params)
        if self._apart:
            found = self._collections[f"category-{category}"].query(query[np.newaxis], n_results=k, include=[])
        else:
            where = {"category": category}
            found = self._collections["all"].query(query[np.newaxis], n_results=k, where=where, include=[])
        return found["ids"][0]

    def _open(self) -> None:
        self._collections = {one.name: one for one in _client(self._directory).list_collections()}

    def _set_params(self, params: dict[str, Any]) -> None:
        """Set search parameters; they take effect when the client is opened again."""
        for collection in self._collections.values():
            collection.modify(configuration={"hnsw": params})
        SharedSystemClient.clear_system_cache()
        self._open()
        self._params = params
