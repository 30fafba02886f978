"""Latency of clients while snapshots are swapped.

A service with two workers answers sixteen clients without a pause, for equal times with and without swaps, alternately.
Two snapshots of the same photos alternate: one as built, one trained again.
"""

import itertools
import tempfile
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness.build_process import SMOKE, build_snapshot
from benchmarks.harness.options import option_parser
from benchmarks.harness.photos import list_photos, sample, write_catalogue
from benchmarks.harness.rows import print_records, store
from benchmarks.harness.service_process import Client, service
from indexer.snapshots.publish import set_current
from shared.snapshot.data_directory import DataDirectory

_CLIENTS = 16
_WORKERS = 2
_TURNS = 5


@dataclass(frozen=True)
class Latency:
    """Latency of the clients.

    Attributes:
    requests: Number of answered requests; an error ends the benchmark.
    p50_ms: Median.
    p99_ms: 99th percentile.
    """

    requests: int
    p50_ms: float
    p99_ms: float

    @classmethod
    def of(cls, waited_ms: Sequence[float]) -> "Latency":
        """Summarize individual latencies."""
        return cls(len(waited_ms), *(float(value) for value in np.percentile(waited_ms, (50, 99))))


class Load:
    """Clients that search without a pause."""

    def __init__(self, port: int, images: Sequence[bytes]) -> None:
        """Start the clients.

        Args:
            port: Port of the service.
            images: Query images, used in turn.
        """
        self._port = port
        self._images = itertools.cycle(images)
        self._stop = threading.Event()
        self._waited_ms: list[float] = []
        self._failures: list[BaseException] = []
        self._threads = [threading.Thread(target=self._run) for _ in range(_CLIENTS)]
        for thread in self._threads:
            thread.start()

    def take(self) -> list[float]:
        """Return the latencies since the last call, in ms."""
        if self._failures:
            raise SystemExit(f"a request failed: {self._failures[0]}")
        waited, self._waited_ms = self._waited_ms, []
        return waited

    def stop(self) -> None:
        """Wait for the requests in progress."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        try:
            with closing(Client(self._port)) as client:
                while not self._stop.is_set():
                    started = time.perf_counter()
                    client.search(next(self._images))
                    self._waited_ms.append(1000 * (time.perf_counter() - started))
        except (OSError, SystemExit) as error:
            self._failures.append(error)


def main() -> None:
    """Measure, print and store."""
    parser = option_parser("serving.snapshot_swap", __doc__)
    parser.add_argument("--swaps", type=int, help="number of swaps (default: 50, in a smoke run 4)")
    options = parser.parse_args()
    swaps = options.swaps or (4 if options.smoke else 50)
    train = list_photos(options.photos, "train")
    images = [photo.path.read_bytes() for photo in sample(list_photos(options.photos, "validation"), 100)]
    with tempfile.TemporaryDirectory(prefix="parecido-benchmark-") as directory:
        data = DataDirectory(Path(directory, "data"))
        photos = sample(train, 100) if options.smoke else train
        catalogue = write_catalogue(photos, options.photos, Path(directory, "catalogue.jsonl"))
        small = SMOKE if options.smoke else ()
        ids = [build_snapshot(catalogue, data.root, *small).summary["snapshot_id"]]
        ids.append(build_snapshot(catalogue, data.root, *small, "--retrain").summary["snapshot_id"])
        with service(data.root, workers=_WORKERS) as running:
            load = Load(running.port, images)
            try:
                quiet, swapping = _take_turns(load, data, itertools.cycle(ids), swaps)
            finally:
                load.stop()
    print_records(
        f"{swaps} swaps under {_CLIENTS} clients and {_WORKERS} workers",
        [
            {"": "no swaps", "requests": quiet.requests, "p50, ms": quiet.p50_ms, "p99, ms": quiet.p99_ms},
            {"": "swaps", "requests": swapping.requests, "p50, ms": swapping.p50_ms, "p99, ms": swapping.p99_ms},
            {
                "": "ratio",
                "requests": None,
                "p50, ms": swapping.p50_ms / quiet.p50_ms,
                "p99, ms": swapping.p99_ms / quiet.p99_ms,
            },
        ],
    )
    store("swapping", options.smoke, {"swaps": swaps, "quiet": vars(quiet), "swapping": vars(swapping)})


def _take_turns(load: Load, data: DataDirectory, ids: "itertools.cycle[str]", swaps: int) -> tuple[Latency, Latency]:
    """Measure for equal times without and with swaps, alternately."""
    quiet: list[float] = []
    swapping: list[float] = []
    time.sleep(3)  # warm up
    load.take()
    for _ in range(_TURNS):
        started = time.perf_counter()
        for _ in range(max(1, swaps // _TURNS)):
            set_current(data, next(ids))
            time.sleep(1.5)  # the workers look once a second
        swapping += load.take()
        turn_s = time.perf_counter() - started
        time.sleep(2)  # the last swap ends
        load.take()
        time.sleep(turn_s)
        quiet += load.take()
    return Latency.of(quiet), Latency.of(swapping)


if __name__ == "__main__":
    main()
