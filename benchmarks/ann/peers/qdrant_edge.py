"""Qdrant Edge: one shard whose graph is built per tenant, as Qdrant recommends, and filtered by category."""

from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qdrant_edge import (
    Distance,
    EdgeConfig,
    EdgeOptimizersConfig,
    EdgeShard,
    EdgeVectorParams,
    FieldCondition,
    Filter,
    HnswIndexConfig,
    KeywordIndexParams,
    MatchValue,
    Point,
    QuantizationSearchParams,
    Query,
    ScalarQuantizationConfig,
    ScalarType,
    SearchParams,
    SearchRequest,
    UpdateOperation,
)

VARIANTS: dict[str, dict[str, Any]] = {
    "f32": {"payload_m": 16, "ef_construct": 200, "int8": False},
    "int8 rescored": {"payload_m": 16, "ef_construct": 200, "int8": True},
}
SEARCH_PARAMS = [{"hnsw_ef": ef} for ef in (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024)]
_CHUNK = 1024
# In KB: past any size here, so that there is one segment, as there is one index a category elsewhere.
_ONE_SEGMENT_KB = 1_000_000_000


def versions() -> dict[str, str]:
    """Return the versions of the measured packages."""
    return {"qdrant-edge-py": version("qdrant-edge-py")}


def _config(dim: int, settings: dict[str, Any]) -> EdgeConfig:
    return EdgeConfig(
        vectors=EdgeVectorParams(
            size=dim,
            distance=Distance.Dot,
            quantization_config=ScalarQuantizationConfig(type=ScalarType.Int8) if settings["int8"] else None,
        ),
        hnsw_config=HnswIndexConfig(
            m=0,
            payload_m=settings["payload_m"],
            ef_construct=settings["ef_construct"],
            full_scan_threshold=1000,
        ),
        optimizers=EdgeOptimizersConfig(
            default_segment_number=1, max_segment_size=_ONE_SEGMENT_KB, indexing_threshold=1000
        ),
        max_search_threads=1,
        wal_enabled=False,  # its lock would let one process alone open the shard
    )


def build(rows: NDArray[np.float32], categories: NDArray[np.int64], directory: Path, settings: dict[str, Any]) -> None:
    """One shard."""
    (directory / "dim").write_text(str(rows.shape[1]))
    (directory / "shard").mkdir()
    shard = EdgeShard.create(str(directory / "shard"), _config(rows.shape[1], settings))
    shard.update(UpdateOperation.create_field_index("category", KeywordIndexParams(is_tenant=True)))
    for start in range(0, len(rows), _CHUNK):
        chunk = np.array(rows[start : start + _CHUNK]).tolist()
        points = [
            Point(start + offset, vector, {"category": str(categories[start + offset])})
            for offset, vector in enumerate(chunk)
        ]
        shard.update(UpdateOperation.upsert_points(points))
    shard.optimize()
    shard.flush()
    shard.close()


class Opened:
    """The shard."""

    def __init__(self, directory: Path, settings: dict[str, Any]) -> None:
        self._shard = EdgeShard.load(str(directory / "shard"), _config(int((directory / "dim").read_text()), settings))
        self._rescore = QuantizationSearchParams(rescore=True, oversampling=2.0) if settings["int8"] else None

    def search(self, query: NDArray[np.float32], category: int, k: int, params: dict[str, Any]) -> Any:
        """Return the row numbers of the nearest neighbours."""
        of_category = Filter(must=[FieldCondition("category", match=MatchValue(str(category)))])
        params = SearchParams(hnsw_ef=params["hnsw_ef"], quantization=self._rescore)
        request = SearchRequest(Query.Nearest(query.tolist()), k, filter=of_category, params=params)
        return [point.id for point in self._shard.search(request)]
