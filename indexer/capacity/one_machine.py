"""Resources that a catalogue needs on one machine: functions whose docstrings are their formulas."""

import math
from collections.abc import Callable, Mapping

from indexer.capacity.demand import Demand
from indexer.capacity.measured import (
    BUILD_BYTES,
    CACHE_SHARE,
    COPY_S,
    FIRST_VIEW_S,
    GRAPH_BYTES,
    GRAPH_S,
    ITEM_BYTES,
    QUERY_S,
    VECTOR_BYTES,
    WORKER_BYTES,
)


def embedding_hours(demand: Demand) -> float:
    """Embedding all images once.

    images * (first_view_s + copies * copy_s) / cores / 3600
    """
    return demand.images * (FIRST_VIEW_S + demand.copies * COPY_S) / demand.cores / 3600


def index_hours(demand: Demand) -> float:
    """Building the partitions.

    images * graph_s / cores / 3600
    """
    return demand.images * GRAPH_S / demand.cores / 3600


def build_memory_gb(demand: Demand) -> float:
    """Memory of a build.

    (build_bytes + images * item_bytes) / 1e9
    """
    return (BUILD_BYTES + demand.images * ITEM_BYTES) / 1e9


def service_memory_gb(demand: Demand) -> float:
    """Memory of the service, its mapped files included.

    (worker_bytes + images * (graph_bytes + vector_bytes)) / 1e9
    """
    return (WORKER_BYTES + demand.images * (GRAPH_BYTES + VECTOR_BYTES)) / 1e9


def memory_gb(demand: Demand) -> float:
    """Memory while the next snapshot is built.

    build_memory_gb + service_memory_gb
    """
    return build_memory_gb(demand) + service_memory_gb(demand)


def cache_disk_gb(demand: Demand) -> float:
    """Disk of the cache.

    images * (1 + copies) * vector_bytes * cache_share / 1e9
    """
    return demand.images * (1 + demand.copies) * VECTOR_BYTES * CACHE_SHARE / 1e9


def snapshot_disk_gb(demand: Demand) -> float:
    """Disk of the snapshot and the next one.

    2 * images * (vector_bytes + graph_bytes) / 1e9
    """
    return 2 * demand.images * (VECTOR_BYTES + GRAPH_BYTES) / 1e9


def disk_gb(demand: Demand) -> float:
    """Disk.

    cache_disk_gb + snapshot_disk_gb
    """
    return cache_disk_gb(demand) + snapshot_disk_gb(demand)


def service_cores(demand: Demand) -> float:
    """Cores that answer queries.

    queries_per_s * query_s
    """
    return demand.queries_per_s * QUERY_S


def machines(demand: Demand) -> float:
    """Machines, each with the complete catalogue.

    ceil(service_cores / cores)
    """
    return math.ceil(service_cores(demand) / demand.cores)


FORMULAS: Mapping[Callable[[Demand], float], str] = {
    embedding_hours: "h",
    index_hours: "h",
    build_memory_gb: "GB",
    service_memory_gb: "GB",
    memory_gb: "GB",
    cache_disk_gb: "GB",
    snapshot_disk_gb: "GB",
    disk_gb: "GB",
    service_cores: "cores",
    machines: "",
}
