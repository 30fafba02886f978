"""What items' metadata cost a build: memory while the catalogue is known, processor time of reading and writing them.

A drawn JSON-lines catalogue, its items with ten fields each, is read three times, each time in a process of its own: as
it is; with the metadata held in dictionaries beside that, as they would be without the file that they lie in; and
without metadata. Then what a build does with them: a digest of all items, and `items.sqlite`.
"""

import hashlib
import json
import re
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from benchmarks.harness.fresh_process import run_in_fresh_process
from benchmarks.harness.options import option_parser
from benchmarks.harness.rows import print_records, store
from indexer.catalogue.reader import read_catalogue
from shared.catalogue.items import IndexedItem, Item, write_items

_IMAGE = "picture.jpg"
_Result = TypeVar("_Result")


def main() -> None:
    """Measure, print and store."""
    parser = option_parser("metadata", __doc__)
    parser.add_argument("--items", type=int, default=300_000, help="(default: 300,000)")
    options = parser.parse_args()
    n_items = 2000 if options.smoke else options.items
    with tempfile.TemporaryDirectory(prefix="parecido-benchmark-") as directory:
        root = Path(directory)
        (root / _IMAGE).touch()
        full, bare = root / "full.jsonl", root / "bare.jsonl"
        _draw_catalogue(full, n_items, has_metadata=True)
        _draw_catalogue(bare, n_items, has_metadata=False)
        records = [
            {"metadata": name, **run_in_fresh_process(measure, path, held)}
            for name, path, held in (("in a file", full, False), ("held", full, True), ("none", bare, False))
        ]
        megabytes = full.stat().st_size / 1e6
    print_records(f"{n_items:,} items; the catalogue has {megabytes:,.0f} MB", records)
    store("metadata", options.smoke, {"items": n_items, "catalogue_mb": megabytes, "ways": records})


def measure(path: Path, held: bool) -> dict[str, float]:
    """Read a catalogue and write its `items.sqlite`, in a process that does nothing else.

    Args:
        path: of the catalogue.
        held: whether all metadata are in memory as dictionaries.
    """
    before_mb = _peak_mb()
    items, read_s = _timed(lambda: _read(path, held))
    read_mb = _peak_mb() - before_mb
    indexed = [
        IndexedItem(item, number, (number,), (hashlib.sha256(number.to_bytes(8)).digest(),))
        for number, item in enumerate(items)
    ]
    _, digest_s = _timed(lambda: _digest(items))
    _, write_s = _timed(lambda: write_items(path.with_suffix(f".{held}.sqlite"), indexed))
    return {
        "reading_peak_mb": read_mb,
        "bytes_an_item": 1e6 * read_mb / len(items),
        "reading_cpu_s": read_s,
        "digest_cpu_s": digest_s,
        "writing_cpu_s": write_s,
    }


def _read(path: Path, held: bool) -> tuple[Item, ...]:
    items = read_catalogue(path, None).items
    return tuple(replace(item, metadata=dict(item.metadata)) for item in items) if held else items


def _digest(items: Iterable[Item]) -> str:
    """As a build makes one of all that it knows of the items."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(json.dumps([item.item_id, dict(item.metadata)], sort_keys=True).encode())
    return digest.hexdigest()


def _timed(work: Callable[[], _Result]) -> tuple[_Result, float]:
    """What it gives, and its processor time."""
    started = time.process_time()
    return work(), time.process_time() - started


def _peak_mb() -> float:
    """The most memory that this process has had resident (Linux)."""
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None, "the system does not tell"
    return int(found[1]) / 1000


def _draw_catalogue(path: Path, n_items: int, has_metadata: bool) -> None:
    draw = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as file:
        for number in range(n_items):
            entry: dict[str, Any] = {
                "item_id": f"item-{number}",
                "category": f"category {number % 20}",
                "image": _IMAGE,
            }
            if has_metadata:
                entry |= _fields(number, draw)
            file.write(json.dumps(entry) + "\n")


def _fields(number: int, draw: np.random.Generator) -> dict[str, Any]:
    brand, colour, price = draw.integers(200), draw.integers(12), draw.integers(100_000) / 100
    return {
        "title": f"product {number} of the catalogue",
        "description": f"what a shop says of product {number}: what it is made of, and how it is washed",
        "brand": f"brand {brand}",
        "colour": f"colour {colour}",
        "price": float(price),
        "currency": "EUR",
        "sizes": draw.integers(36, 46, size=3).tolist(),
        "in_stock": bool(brand % 2),
        "supplier": f"supplier {brand % 50}",
        "url": f"https://shop.example/products/{number}",
    }


if __name__ == "__main__":
    main()
