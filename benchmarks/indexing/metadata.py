"""Cost of items' metadata in a build: memory while the catalogue is known, CPU time of reading and writing.

A synthetic JSON-lines catalogue with ten fields per item is read three times, each in a separate process: as it is;
with the metadata also held in dictionaries, as they would be without the spool file; and without metadata. Then a
digest of all items and `items.sqlite` are made, as in a build.
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
from shared.catalogue.item_writer import write_items
from shared.catalogue.items import IndexedItem, Item

_IMAGE = "picture.jpg"
_Result = TypeVar("_Result")


def main() -> None:
    """Measure, print and store."""
    parser = option_parser("indexing.metadata", __doc__)
    parser.add_argument("--items", type=int, default=300_000, help="(default: 300,000)")
    options = parser.parse_args()
    n_items = 2000 if options.smoke else options.items
    with tempfile.TemporaryDirectory(prefix="parecido-benchmark-") as directory:
        root = Path(directory)
        (root / _IMAGE).touch()
        full, bare = root / "full.jsonl", root / "bare.jsonl"
        _write_catalogue(full, n_items, has_metadata=True)
        _write_catalogue(bare, n_items, has_metadata=False)
        records = [
            {"metadata": name, **run_in_fresh_process(measure, path, held)}
            for name, path, held in (("in a file", full, False), ("held", full, True), ("none", bare, False))
        ]
        megabytes = full.stat().st_size / 1e6
    print_records(f"{n_items:,} items; the catalogue has {megabytes:,.0f} MB", records)
    store("metadata", options.smoke, {"items": n_items, "catalogue_mb": megabytes, "ways": records})


def measure(path: Path, held: bool) -> dict[str, float]:
    """Read a catalogue and write its `items.sqlite`; call it in a fresh process.

    Args:
    path: The catalogue.
    held: True to hold all metadata in memory as dictionaries.
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
        "bytes_per_item": 1e6 * read_mb / len(items),
        "reading_cpu_s": read_s,
        "digest_cpu_s": digest_s,
        "writing_cpu_s": write_s,
    }


def _read(path: Path, held: bool) -> tuple[Item, ...]:
    items = read_catalogue(path, None).items
    return tuple(replace(item, metadata=dict(item.metadata)) for item in items) if held else items


def _digest(items: Iterable[Item]) -> str:
    """Return the digest of all items as a build computes it."""
    digest = hashlib.sha256()
    for item in items:
        digest.update(json.dumps([item.item_id, dict(item.metadata)], sort_keys=True).encode())
    return digest.hexdigest()


def _timed(work: Callable[[], _Result]) -> tuple[_Result, float]:
    """Return the result of `work` and its CPU time in seconds."""
    started = time.process_time()
    return work(), time.process_time() - started


def _peak_mb() -> float:
    """Return the peak resident memory of this process in MB (Linux)."""
    match = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert match is not None, "the kernel does not report VmHWM"
    return int(match[1]) / 1000


def _write_catalogue(path: Path, n_items: int, has_metadata: bool) -> None:
    rng = np.random.default_rng(0)
    with path.open("w", encoding="utf-8") as file:
        for number in range(n_items):
            entry: dict[str, Any] = {
                "item_id": f"item-{number}",
                "category": f"category {number % 20}",
                "image": _IMAGE,
            }
            if has_metadata:
                entry |= _fields(number, rng)
            file.write(json.dumps(entry) + "\n")


def _fields(number: int, rng: np.random.Generator) -> dict[str, Any]:
    brand, colour, price = rng.integers(200), rng.integers(12), rng.integers(100_000) / 100
    return {
        "title": f"product {number} of the catalogue",
        "description": f"a description of product {number}: its material, and how to wash it",
        "brand": f"brand {brand}",
        "colour": f"colour {colour}",
        "price": float(price),
        "currency": "EUR",
        "sizes": rng.integers(36, 46, size=3).tolist(),
        "in_stock": bool(brand % 2),
        "supplier": f"supplier {brand % 50}",
        "url": f"https://shop.example/products/{number}",
    }


if __name__ == "__main__":
    main()
