"""Zvec: one collection, filtered by category; or a collection per category."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import zvec
from numpy.typing import NDArray

VARIANTS: dict[str, dict[str, Any]] = {
    "filtered": {"apart": False, "m": 16, "ef_construction": 200},
    "a collection per category": {"apart": True, "m": 16, "ef_construction": 200},
}
SEARCH_PARAMS = [{"ef": ef} for ef in (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)]
_CHUNK = 1000


def versions() -> dict[str, str]:
    """Return the versions of the measured packages."""
    return {"zvec": version("zvec")}


def build(rows: NDArray[np.float32], categories: NDArray[np.int64], directory: Path, settings: dict[str, Any]) -> None:
    """Write one directory per collection."""
    zvec.init(log_level=zvec.LogLevel.ERROR)
    groups = (
        {str(one): np.flatnonzero(categories == one) for one in np.unique(categories).tolist()}
        if settings["apart"]
        else {"all": np.arange(len(rows))}
    )
    graph = zvec.HnswIndexParam(zvec.MetricType.IP, m=settings["m"], ef_construction=settings["ef_construction"])
    schema = zvec.CollectionSchema(
        name="vectors",
        fields=[zvec.FieldSchema("category", zvec.DataType.INT64, index_param=zvec.InvertIndexParam())],
        vectors=[zvec.VectorSchema("vector", zvec.DataType.VECTOR_FP32, rows.shape[1], index_param=graph)],
    )
    for name, members in groups.items():
        collection = zvec.create_and_open(str(directory / name), schema)
        for start in range(0, len(members), _CHUNK):
            chunk = members[start : start + _CHUNK]
            collection.insert(
                [
                    zvec.Doc(id=str(row), vectors={"vector": vector}, fields={"category": int(categories[row])})
                    for row, vector in zip(chunk.tolist(), rows[chunk], strict=True)
                ]
            )
        collection.optimize()
        collection.flush()
        collection.close()


class Opened:
    """The collections."""

    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        zvec.init(log_level=zvec.LogLevel.ERROR, query_threads=1)
        read = zvec.CollectionOption(read_only=True)
        self._collections = {path.name: zvec.open(str(path), read) for path in directory.iterdir()}
        self._apart = settings["apart"]

    def search(self, query: NDArray[np.float32], category: int, k: int, params: dict[str, Any]) -> Any:
        """Return the row numbers of the nearest neighbours."""
        wanted = zvec.Query(field_name="vector", vector=query, param=zvec.HnswQueryParam(ef=params["ef"]))
        if self._apart:
            found = self._collections[str(category)].query(wanted, topk=k, output_fields=[])
        else:
            whole = self._collections["all"]
            found = whole.query(wanted, topk=k, filter=f"category = {category}", output_fields=[])
        return [doc.id for doc in found]
