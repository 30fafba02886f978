"""Cost of search options at their limits: CPU time and memory, with a large synthetic catalogue.

Embeddings of ten categories are distributed around some thousand designs, so that there are near-duplicates. Each item
has a unique code, a price, and one of 200 brands with a skewed distribution. Searches are exact, in memory. Each filter
and group is new to the service.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as in the service

import re
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.options import option_parser
from benchmarks.harness.rows import machine, print_records, store
from shared.catalogue.item_store import ItemStore
from shared.catalogue.item_writer import write_items
from shared.catalogue.items import IndexedItem, Item
from shared.catalogue.metadata_filter import MetadataFilter
from shared.images.preprocessing import DEFAULT_PREPROCESSING
from shared.index.partition import Partition
from shared.manifest import FORMAT_VERSION, Manifest
from shared.model.classifier import Classifier
from shared.model.embedder import NoEmbedder
from shared.retrieval.item_search import ItemSearch
from shared.retrieval.query_pictures import QueryPictures
from shared.retrieval.search_options import SearchOptions
from shared.snapshot.snapshot import Snapshot
from shared.vectors import Vectors

_CATEGORIES = tuple(f"category {number}" for number in range(10))
_DESIGNS = 4000
_REPEATS = 3
_DEEP: dict[str, Any] = {"top_k": 1000, "offset": 1000}
_SEARCHES: dict[str, dict[str, Any]] = {
    "10 hits": {},
    "1,000 hits from 1,000 on": _DEEP,
    "…collapse_above 0.5": {**_DEEP, "collapse_above": 0.5},
    "…collapse_above 0.8": {**_DEEP, "collapse_above": 0.8},
    "…collapse_above 0.99": {**_DEEP, "collapse_above": 0.99},
    "…group_by a code of each item's own": {**_DEEP, "group_by": "code"},
    "…group_by brand": {**_DEEP, "group_by": "brand"},
    "…group_by brand, collapse_above 0.8": {**_DEEP, "group_by": "brand", "collapse_above": 0.8},
    "10 hits, a filter that all pass": {"filter": {"price": {"gte": -1}}},
    "10 hits, a filter of 32 ranges": {"filter": {f"range {number}": {"gte": -1} for number in range(32)}},
    "10 hits, 1,000 values of a filter": {"filter": {"code": [f"code {number}" for number in range(1000)]}},
    "10 hits, all categories": {"probe": len(_CATEGORIES)},
}


def main() -> None:
    """Measure, print and store."""
    parser = option_parser("serving.search_cost", __doc__)
    parser.add_argument("--items", type=int, default=1_000_000, help="(default: 1,000,000)")
    parser.add_argument("--dim", type=int, default=1280, help="dimensions of an embedding (default: 1280)")
    options = parser.parse_args()
    n_items, dim = (3000, 64) if options.smoke else (options.items, options.dim)
    with tempfile.TemporaryDirectory(prefix="parecido-benchmark-") as directory:
        path = Path(directory) / "items.sqlite"
        snapshot, query = _draw_snapshot(path, n_items, dim)
        records = [{"search": name, **_measure(snapshot, path, query, given)} for name, given in _SEARCHES.items()]
        snapshot.close()
    print_records(f"{n_items:,} items, {dim} dimensions", records)
    store("search_cost", options.smoke, {"machine": machine(), "items": n_items, "dim": dim, "searches": records})


def _measure(snapshot: Snapshot, path: Path, query: Vectors, given: dict[str, Any]) -> dict[str, Any]:
    """Return the minimum CPU time of some runs after a warm-up, and the largest additional memory."""
    fields = {**given, "filter": MetadataFilter.from_json(given["filter"]) if "filter" in given else None}
    options = SearchOptions(**fields)
    categories = _CATEGORIES[: int(given.get("probe", 1))]
    taken_s, more_mb = [], []
    for run in range(1 + _REPEATS):
        fresh = replace(snapshot, items=ItemStore(path))  # nothing is cached
        _reset_peak()
        before_mb, started_s = _memory_mb("VmRSS"), time.thread_time()
        hits = ItemSearch(fresh, QueryPictures(query), options).page(categories)
        if run:
            taken_s.append(time.thread_time() - started_s)
        more_mb.append(_memory_mb("VmHWM") - before_mb)
        fresh.items.close()
    return {"hits": len(hits), "core_ms": 1000 * min(taken_s), "more_mb": max(more_mb)}


def _draw_snapshot(path: Path, n_items: int, dim: int) -> tuple[Snapshot, Vectors]:
    draw = np.random.default_rng(0)
    writing = threading.Thread(target=write_items, args=(path, _items(n_items)))
    writing.start()
    designs = draw.standard_normal((_DESIGNS, dim), dtype=np.float32)
    partitions: dict[str, Any] = {}
    for number, category in enumerate(_CATEGORIES):
        members = np.arange(number, n_items, len(_CATEGORIES))
        rows = designs[draw.integers(_DESIGNS // 4, size=len(members)) + number * _DESIGNS // 20]
        rows += 0.4 * draw.standard_normal(rows.shape, dtype=np.float32)
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        partitions[category] = Partition.build(category, rows, members)
    writing.join()
    weights = np.zeros((dim, len(_CATEGORIES)), np.float32), np.zeros(len(_CATEGORIES), np.float32)
    classifier = Classifier(_CATEGORIES, *weights)
    snapshot = Snapshot(_manifest(n_items, dim), NoEmbedder(dim), classifier, ItemStore(path), partitions)
    return snapshot, partitions[_CATEGORIES[0]].embeddings([0])


def _items(n_items: int) -> Iterator[IndexedItem]:
    draw = np.random.default_rng(1)
    brands = np.minimum(draw.geometric(0.1, size=n_items), 200).tolist()
    prices = draw.permutation(n_items).tolist()
    for number in range(n_items):
        metadata = {"code": f"code {number}", "brand": f"brand {brands[number]}", "price": prices[number] / 100}
        if number % 100 == 0:
            metadata |= {f"range {field}": prices[number] for field in range(32)}
        category = _CATEGORIES[number % len(_CATEGORIES)]
        yield IndexedItem(Item(f"item-{number}", category, ("a.jpg",), metadata), number, (number // 10,))


def _manifest(n_items: int, dim: int) -> Manifest:
    nothing = dict.fromkeys(("weights", "recipe", "index_views", "content", "image_root"), "none")
    described = {
        "snapshot_id": "drawn",
        "created_at": "2026-01-01T00:00:00+00:00",
        "parecido_version": "0",
        "backbone": "none",
        "embedder_id": "none",
        "metric": "inner_product",
        "preprocessing": DEFAULT_PREPROCESSING.name,
    }
    fields: dict[str, Any] = {**nothing, **described, "format_version": FORMAT_VERSION, "dim": dim, "items": n_items}
    empty: dict[str, Any] = {"categories": (), "golden": (), "classifier": {}, "settings": {}, "checksums": {}}
    return Manifest(**fields, **empty, images=n_items, skipped=0)


def _reset_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


def _memory_mb(name: str) -> float:
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None, "the system does not tell"
    return int(found[1]) / 1000


if __name__ == "__main__":
    main()
