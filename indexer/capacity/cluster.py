"""Resources that a catalogue needs on a cluster of Ray and Milvus: functions whose docstrings are their formulas."""

import math
from collections.abc import Callable, Mapping

from indexer.capacity import one_machine
from indexer.capacity.demand import Demand
from indexer.capacity.measured import (
    COPY_S,
    FIRST_VIEW_S,
    INSERT_S,
    LINK_BYTES,
    QUERY_S,
    TAKE_OVER_COPY_S,
    TAKE_OVER_S,
    VECTOR_BYTES,
)


def embedding_nodes(demand: Demand) -> float:
    """Ray nodes that embed all images once in the given hours.

    ceil(images * (first_view_s + copies * copy_s) / (hours * 3600) / cores)
    """
    return math.ceil(demand.images * (FIRST_VIEW_S + demand.copies * COPY_S) / (demand.hours * 3600) / demand.cores)


def take_over_hours(demand: Demand) -> float:
    """The driver's copying from shards into the cache, meanwhile.

    images * (take_over_s + copies * take_over_copy_s) / 3600
    """
    return demand.images * (TAKE_OVER_S + demand.copies * TAKE_OVER_COPY_S) / 3600


def driver_memory_gb(demand: Demand) -> float:
    """Memory of the driver.

    (build_bytes + images * item_bytes) / 1e9
    """
    return one_machine.build_memory_gb(demand)


def driver_disk_gb(demand: Demand) -> float:
    """Disk of the driver: the cache.

    images * (1 + copies) * vector_bytes * cache_share / 1e9
    """
    return one_machine.cache_disk_gb(demand)


def insert_hours(demand: Demand) -> float:
    """Inserting into Milvus by one client.

    images * insert_s / 3600
    """
    return demand.images * INSERT_S / 3600


def milvus_memory_gb(demand: Demand) -> float:
    """Memory of Milvus's query nodes, one replica.

    images * (vector_bytes + link_bytes) / 1e9
    """
    return demand.images * (VECTOR_BYTES + LINK_BYTES) / 1e9


def milvus_nodes(demand: Demand) -> float:
    """Query nodes, filled to 70 %.

    ceil(milvus_memory_gb / (0.7 * memory_gb_each))
    """
    return math.ceil(milvus_memory_gb(demand) / (0.7 * demand.memory_gb_each))


def object_storage_gb(demand: Demand) -> float:
    """Object storage: a collection and the next one.

    2 * images * vector_bytes / 1e9
    """
    return 2 * demand.images * VECTOR_BYTES / 1e9


def service_nodes(demand: Demand) -> float:
    """Nodes of the service.

    ceil(queries_per_s * query_s / cores)
    """
    return math.ceil(demand.queries_per_s * QUERY_S / demand.cores)


FORMULAS: Mapping[Callable[[Demand], float], str] = {
    embedding_nodes: "nodes",
    take_over_hours: "h",
    driver_memory_gb: "GB",
    driver_disk_gb: "GB",
    insert_hours: "h",
    milvus_memory_gb: "GB",
    milvus_nodes: "nodes",
    object_storage_gb: "GB",
    service_nodes: "nodes",
}
