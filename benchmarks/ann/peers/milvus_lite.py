"""Milvus Lite: one collection, a named partition per category."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymilvus import DataType, MilvusClient

VARIANTS: dict[str, dict[str, Any]] = {"HNSW": {"M": 16, "efConstruction": 200}}
SEARCH_PARAMS = [{"ef": ef} for ef in (10, 16, 32, 64, 128, 256, 512, 1024)]
_CHUNK = 1000
_NAME = "vectors"


def versions() -> dict[str, str]:
    """Return the versions of the measured packages."""
    return {"milvus-lite": version("milvus-lite"), "pymilvus": version("pymilvus")}


def build(rows: NDArray[np.float32], categories: NDArray[np.int64], directory: Path, settings: dict[str, Any]) -> None:
    """One database."""
    client = MilvusClient(str(directory / "vectors.db"))
    schema = client.create_schema(auto_id=False)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("vector", DataType.FLOAT_VECTOR, dim=rows.shape[1])
    client.create_collection(_NAME, schema=schema)
    for category in np.unique(categories).tolist():
        client.create_partition(_NAME, f"category_{category}")
        members = np.flatnonzero(categories == category)
        for start in range(0, len(members), _CHUNK):
            chunk = members[start : start + _CHUNK]
            data = [
                {"id": row, "vector": vector.tolist()} for row, vector in zip(chunk.tolist(), rows[chunk], strict=True)
            ]
            client.insert(_NAME, data, partition_name=f"category_{category}")
    client.flush(_NAME)
    index = client.prepare_index_params()
    index.add_index("vector", index_type="HNSW", metric_type="IP", params=settings)
    client.create_index(_NAME, index)
    client.load_collection(_NAME)
    client.close()


class Opened:
    """The database."""

    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        self._client = MilvusClient(str(directory / "vectors.db"))
        self._client.load_collection(_NAME)

    def search(self, query: NDArray[np.float32], category: int, k: int, params: dict[str, Any]) -> Any:
        """Return the row numbers of the nearest neighbours."""
        found = self._client.search(
            _NAME,
            [query],
            limit=k,
            search_params={"metric_type": "IP", "params": params},
            partition_names=[f"category_{category}"],
        )
        return [hit["id"] for hit in found[0]]
