"""LanceDB: one table, filtered by category before the search."""

from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

VARIANTS: dict[str, dict[str, Any]] = {
    "IVF_HNSW_SQ": {"index_type": "IVF_HNSW_SQ", "num_partitions": 1, "m": 16, "ef_construction": 200},
    "IVF_PQ": {"index_type": "IVF_PQ", "num_sub_vectors": 160},
}
SEARCH_PARAMS = [
    {"nprobes": nprobes, "ef": ef, "refine_factor": refine}
    for nprobes, ef, refine in (
        (4, 32, 2),
        (8, 64, 2),
        (16, 64, 4),
        (16, 128, 4),
        (32, 256, 8),
        (64, 512, 8),
        (128, 512, 16),
        (256, 1024, 16),
    )
]
_CHUNK = 4096


def versions() -> dict[str, str]:
    """Return the versions of the measured packages."""
    return {"lancedb": version("lancedb"), "pyarrow": version("pyarrow")}


def build(rows: NDArray[np.float32], categories: NDArray[np.int64], directory: Path, settings: dict[str, Any]) -> None:
    """One table with two indexes."""
    vector_type = pa.list_(pa.float32(), rows.shape[1])
    schema = pa.schema([("id", pa.int64()), ("category", pa.int64()), ("vector", vector_type)])

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, len(rows), _CHUNK):
            chunk = np.array(rows[start : start + _CHUNK])
            columns = [
                pa.array(np.arange(start, start + len(chunk))),
                pa.array(categories[start : start + len(chunk)].astype(np.int64)),
                pa.FixedSizeListArray.from_arrays(pa.array(chunk.reshape(-1)), rows.shape[1]),
            ]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    table = lancedb.connect(str(directory)).create_table("vectors", batches(), schema=schema)
    table.create_index(metric="dot", vector_column_name="vector", **settings)
    table.create_scalar_index("category", index_type="BITMAP")
    table.optimize()


class Opened:
    """The table."""

    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        self._table = lancedb.connect(str(directory)).open_table("vectors")
        self._graph = "HNSW" in settings["index_type"]

    def search(self, query: NDArray[np.float32], category: int, k: int, params: dict[str, Any]) -> Any:
        """Return the row numbers of the nearest neighbours."""
        search = self._table.search(query).where(f"category = {category}", prefilter=True).select(["id"]).limit(k)
        search = search.nprobes(params["nprobes"]).refine_factor(params["refine_factor"])
        if self._graph:
            search = search.ef(params["ef"])
        return search.to_arrow()["id"].to_numpy()
