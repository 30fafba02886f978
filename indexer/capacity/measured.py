"""Figures that were measured on a machine with 2 cores; the formulas multiply them."""

from collections.abc import Mapping
from typing import NamedTuple

FIRST_VIEW_S = 2 / 144
COPY_S = (2 / 51.9 - 2 / 144) / 2
VECTOR_BYTES = 5120
GRAPH_BYTES = 652
GRAPH_S = 2 * 76 / 33_923
CACHE_SHARE = 1.103
ITEM_BYTES = 2650
BUILD_BYTES = 1.2e9
WORKER_BYTES = 129e6
QUERY_S = 2 / 88
TAKE_OVER_S = 1 / 6_318
TAKE_OVER_COPY_S = (1 / 4_234 - 1 / 6_318) / 2
INSERT_S = 1 / 3_700
LINK_BYTES = 128


class Measured(NamedTuple):
    """A measured figure.

    Attributes:
        what: it measures.
        by: the benchmark that prints it, or another source.
    """

    value: float
    unit: str
    what: str
    by: str


MEASURED: Mapping[str, Measured] = {
    "first_view_s": Measured(FIRST_VIEW_S, "core s", "decoding and embedding an image", "benchmarks.speed"),
    "copy_s": Measured(COPY_S, "core s", "making and embedding an augmented copy", "benchmarks.speed"),
    "vector_bytes": Measured(
        VECTOR_BYTES, "bytes", "an embedding of 1280 float32 numbers", "benchmarks.ann.index_kinds"
    ),
    "graph_bytes": Measured(
        GRAPH_BYTES, "bytes", "an embedding's share of an HNSW graph over 256 dimensions", "benchmarks.ann.index_kinds"
    ),
    "graph_s": Measured(GRAPH_S, "core s", "adding an embedding to a graph", "benchmarks.ann.index_kinds"),
    "cache_share": Measured(
        CACHE_SHARE, "", "size of the cache, relative to the embeddings in it", "benchmarks.indexing.ray_embedding"
    ),
    "item_bytes": Measured(
        ITEM_BYTES, "bytes", "memory of a build per item with one image", "benchmarks.indexing.large_catalogue"
    ),
    "build_bytes": Measured(
        BUILD_BYTES, "bytes", "memory of a build while it exports the backbone", "benchmarks.indexing.large_catalogue"
    ),
    "worker_bytes": Measured(WORKER_BYTES, "bytes", "memory of a worker of the service", "benchmarks.speed"),
    "query_s": Measured(QUERY_S, "core s", "a query over HTTP", "benchmarks.serving.load"),
    "take_over_s": Measured(
        TAKE_OVER_S, "s", "copying an image's embedding from a shard", "benchmarks.indexing.ray_embedding"
    ),
    "take_over_copy_s": Measured(
        TAKE_OVER_COPY_S, "s", "copying that of an augmented copy", "benchmarks.indexing.ray_embedding"
    ),
    "insert_s": Measured(INSERT_S, "s", "inserting a row into Milvus", "one trial: Milvus 2.3.5, 20,000 rows"),
    "link_bytes": Measured(LINK_BYTES, "bytes", "an embedding's links in a graph of Milvus (M = 16)", "its format"),
}
