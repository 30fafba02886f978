"""The service with a large catalogue, compared with a small one: time until ready, memory, latency over HTTP.

Both catalogues are synthetic vectors (see `benchmarks.ann.scale`). For latency both services run at once, and one
client uploads the same photos to each in short alternating blocks, after a warm-up with all of them. Memory is the PSS
of all processes of a service after each worker has searched.
"""

import json
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.ann.precomputed_snapshot import build_precomputed
from benchmarks.ann.real_embeddings import CACHE, query_images, real_embeddings
from benchmarks.ann.synthetic_set import make_synthetic_set
from benchmarks.harness.fresh_process import run_in_fresh_process
from benchmarks.harness.options import option_parser
from benchmarks.harness.rows import machine, print_records, store
from benchmarks.harness.service_process import Client, Service, service
from shared.vectors import Vectors
from tests.support.processes.process_memory import family_mb

_SMOKE_SIZES = (500, 2_000)
_STARTS = 5
_QUERIES = 200
_BLOCK = 10
_CLIENTS = 8
_SOME_QUERIES = 10


def main() -> None:
    """Measure, print and store."""
    parser = option_parser("serving.service_scale", __doc__)
    parser.add_argument("--sizes", type=_sizes, default=(10_000, 1_000_000), help="(default: 10000,1000000)")
    directory = CACHE / "service-scale"
    parser.add_argument("--directory", type=Path, default=directory, help=f"of the data (default: {directory})")
    options = parser.parse_args()
    sizes = _SMOKE_SIZES if options.smoke else options.sizes
    images = query_images(options.photos, _QUERIES // 10 if options.smoke else _QUERIES)
    real = real_embeddings(options.photos)
    snapshots = [_snapshot(options.directory / str(size), real, size) for size in sizes]
    times_ms = _measure_queries(snapshots, images)
    records = [
        {"items": size, **_measure_process(data, images), **times}
        for size, data, times in zip(sizes, snapshots, times_ms, strict=True)
    ]
    print_records("The service", records)
    ratio = records[-1]["p50_ms"] / records[0]["p50_ms"]
    print(f"\np50 at {sizes[-1]:,} items is {ratio:.3f} times that at {sizes[0]:,}")
    store("service_scale", options.smoke, {"machine": machine(), "services": records, "p50_ratio": ratio})


def _sizes(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _snapshot(directory: Path, real: dict[str, Vectors], size: int) -> Path:
    """Return the data directory of a catalogue of `size` items, building it unless it exists."""
    data = directory / "data"
    if not (data / "current").exists():
        drawn = make_synthetic_set(directory / "set", real, size, n_queries=_SOME_QUERIES, seed=0)
        print(f"building a snapshot of {size:,} items", flush=True)
        run_in_fresh_process(build_precomputed, drawn.vectors, drawn.items, data)
    return data


def _measure_process(data: Path, images: Sequence[bytes]) -> dict[str, Any]:
    """Return the time until ready and the memory, with one and with four workers."""
    figures: dict[str, Any] = {}
    for workers in (1, 4):
        ready_s = []
        for start in range(_STARTS):
            with service(data, workers=workers) as running:
                ready_s.append(running.ready_s)
                if start == _STARTS - 1:
                    _search_on_all(running, images, workers)
                    figures[f"pss_{workers}_mb"] = family_mb(running.pid)["Pss"]
        figures[f"ready_{workers}_s"] = statistics.median(ready_s)
    return figures


def _search_on_all(running: Service, images: Sequence[bytes], workers: int) -> None:
    """Search with several clients at once, so that every worker gets some."""

    def search(part: int) -> None:
        client = Client(running.port)
        for image in images[part::_CLIENTS]:
            client.search(image)
        client.close()

    with ThreadPoolExecutor(_CLIENTS) as pool:
        for _ in range(workers):
            list(pool.map(search, range(_CLIENTS)))


def _measure_queries(snapshots: Sequence[Path], images: Sequence[bytes]) -> list[dict[str, float]]:
    """Return median latencies of each service: over HTTP, and of the search itself."""
    with ExitStack() as stack:
        running = [stack.enter_context(service(data)) for data in snapshots]
        clients = [Client(one.port) for one in running]
        http_ms: list[list[float]] = [[] for _ in clients]
        search_ms: list[list[float]] = [[] for _ in clients]
        for image in images:  # mapped pages are read from disk on first access
            for client in clients:
                client.search(image)
        for start in range(0, len(images), _BLOCK):
            for index, client in enumerate(clients):
                for image in images[start : start + _BLOCK]:
                    started = time.perf_counter()
                    answer = client.search(image)
                    http_ms[index].append(1000 * (time.perf_counter() - started))
                    search_ms[index].append(json.loads(answer)["timing_ms"]["search"])
        for client in clients:
            client.close()
    return [
        {"p50_ms": statistics.median(http), "search_p50_ms": statistics.median(search)}
        for http, search in zip(http_ms, search_ms, strict=True)
    ]


if __name__ == "__main__":
    main()
