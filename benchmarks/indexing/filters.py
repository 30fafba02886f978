"""Cost of metadata filters: of the index in a build, and of a search with a filter.

Synthetic items have a unique text, one of 200 brands, one of 12 colours, a price and a list of sizes. `items.sqlite` is
written with an index, and again with the metadata where the index does not reach them. Then, for rare to broad filters:
the time to find the matching items (which a service caches), and an exact search of these among random vectors,
compared with a search of all.
"""

import hashlib
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from benchmarks.harness.options import option_parser
from benchmarks.harness.rows import print_records, store
from shared.catalogue.item_store import ItemStore
from shared.catalogue.item_writer import write_items
from shared.catalogue.items import IndexedItem, Item
from shared.catalogue.metadata_filter import MetadataFilter
from shared.catalogue.metadata_index import passing
from shared.index.partition import Partition
from shared.vectors import unit_rows

_REPEATS = 5
_DIM = 1280
_MOST_VECTORS = 100_000
_FILTERS: dict[str, dict[str, Any]] = {
    "one item": {"title": "product 77 of the catalogue"},
    "one brand": {"brand": "brand 7"},
    "a price range": {"price": {"gte": 100, "lt": 110}},
    "two colours": {"colour": ["colour 1", "colour 2"]},
    "brand, colour, price": {"brand": "brand 7", "colour": "colour 3", "price": {"lt": 500}},
    "half of all": {"price": {"lt": 500}},
    "nearly all": {"price": {"gte": 1}},
}


def main() -> None:
    """Measure, print and store."""
    parser = option_parser("indexing.filters", __doc__)
    parser.add_argument("--items", type=int, default=100_000, help="(default: 100,000)")
    options = parser.parse_args()
    n_items = 2000 if options.smoke else options.items
    with tempfile.TemporaryDirectory(prefix="parecido-benchmark-") as directory:
        builds = _measure_builds(Path(directory), n_items)
        with closing(ItemStore(Path(directory) / "with.sqlite")) as items:
            searches = _measure_filters(Path(directory) / "with.sqlite", items)
    print_records(f"Writing {n_items:,} items", builds)
    print_records(f"Filters over {n_items:,} items, searches in {min(n_items, _MOST_VECTORS):,} of them", searches)
    store("filters", options.smoke, {"items": n_items, "builds": builds, "searches": searches})


def _measure_builds(directory: Path, n_items: int) -> list[dict[str, Any]]:
    records = []
    for name, reachable in (("without", False), ("with", True)):
        path = directory / f"{name}.sqlite"
        started = time.perf_counter()
        write_items(path, _synthetic_items(n_items, reachable))
        taken_s = time.perf_counter() - started
        records.append({"index": name, "bytes_an_item": path.stat().st_size / n_items, "seconds": taken_s})
    return records


def _synthetic_items(n_items: int, reachable: bool) -> Iterator[IndexedItem]:
    """Generate items; unless `reachable`, their metadata are nested in an object, which filters do not reach."""
    draw = np.random.default_rng(0)
    brands, colours = draw.integers(200, size=n_items), draw.integers(12, size=n_items)
    prices, sizes = draw.integers(100_000, size=n_items) / 100, draw.integers(36, 46, size=(n_items, 3))
    for number in range(n_items):
        metadata = {
            "title": f"product {number} of the catalogue",
            "brand": f"brand {brands[number]}",
            "colour": f"colour {colours[number]}",
            "price": float(prices[number]),
            "sizes": sizes[number].tolist(),
        }
        item = Item(f"item-{number}", "shoes", (f"{number}.jpg",), metadata if reachable else {"within": metadata})
        yield IndexedItem(item, number, (number,), (hashlib.sha256(number.to_bytes(8)).digest(),))


def _measure_filters(path: Path, items: ItemStore) -> list[dict[str, Any]]:
    n_rows = min(len(items), _MOST_VECTORS)
    faiss.omp_set_num_threads(1)  # as in the service
    vectors = unit_rows(np.random.default_rng(1).normal(size=(n_rows + 1, _DIM)))
    partition, query = Partition.build("shoes", vectors[1:], np.arange(n_rows)), vectors[:1]
    del vectors
    records = []
    with closing(sqlite3.connect(path)) as connection:
        for name, given in _FILTERS.items():
            wanted = MetadataFilter.from_json(given)
            allowed = passing(connection, wanted, items.n_numbers)
            records.append(
                {
                    "filter": name,
                    "pass": int(allowed.sum()),
                    "find_ms": 1000 * _seconds(lambda: passing(connection, wanted, items.n_numbers)),  # noqa: B023
                    "search_ms": 1000 * _seconds(lambda: partition.search(query, 10, allowed)),  # noqa: B023
                }
            )
    records.append(
        {
            "filter": "none",
            "pass": len(items),
            "find_ms": None,
            "search_ms": 1000 * _seconds(lambda: partition.search(query, 10)),
        }
    )
    return records


def _seconds(work: Callable[[], object]) -> float:
    """Return the minimum time of several runs."""
    taken = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)


if __name__ == "__main__":
    main()
