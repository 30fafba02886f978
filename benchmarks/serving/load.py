"""Throughput and latency under load, compared with the raw limit and with the baseline notebook as a service.

- Throughput of 1 to 16 clients that search without a pause, alternating with plain decoding and inference on all cores;
  latency of one client, compared with decoding and inference with all cores' threads.
- Ten times as many requests as the raw limit, at fixed times: latency of answered ones, whether all others get 503, and
  the time until a client has its normal latency again.
- The baseline notebook behind Flask's development server, in the same run.
- With `--requests N`: memory of the worker over that many searches.

The clients are a separate process on the same cores. Their CPU time is printed, not subtracted.
"""

import os
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness.build_process import SMOKE, build_snapshot
from benchmarks.harness.fresh_process import run_in_fresh_process
from benchmarks.harness.options import option_parser
from benchmarks.harness.photos import list_photos, sample, write_catalogue
from benchmarks.harness.raw_limit import RawLimit
from benchmarks.harness.rows import print_records, store
from benchmarks.harness.service_process import Service, notebook_service, service
from benchmarks.serving.load_clients import Asked, ask_at_rate, ask_without_pause
from search_service.settings import ServiceSettings
from shared.snapshot.data_directory import DataDirectory

_CORES = os.cpu_count() or 1
_PATH = "/v1/search"
_CLIENTS = (1, 2, 4, 16)
_OVERLOAD = 10
_BLOCKS = 5
_IN_A_ROW = 5
_NORMAL = 1.25


@dataclass(frozen=True)
class Throughput:
    """Clients that search without a pause.

    Attributes:
    clients: Number of clients.
    per_s: Answered searches per second.
    raw_per_s: The raw limit: photos decoded and embedded per second on all cores, without other load.
    share: `per_s / raw_per_s`.
    p50_ms: Median latency.
    p99_ms: 99th percentile of the latency.
    refused: Searches answered with 503.
    failed: All other responses.
    clients_cpu: Cores used by the clients' process.
    """

    clients: int
    per_s: float
    raw_per_s: float
    share: float
    p50_ms: float
    p99_ms: float
    refused: int
    failed: int
    clients_cpu: float


@dataclass(frozen=True)
class Overload:
    """Requests at fixed times, far more than can be answered.

    Attributes:
    sent_per_s: Requests sent per second.
    per_s: Answered searches per second.
    p50_ms: Median latency of these, from the scheduled time.
    p99_ms: 99th percentile of it.
    limit_ms: Allowed p99: the queue's deadline and twice the time of an image on one core.
    refused: Searches answered with 503.
    refused_p50_ms: Median latency of these.
    failed: All other responses.
    lag_ms: Largest delay caused by the clients themselves.
    clients_cpu: Cores used by the clients' process.
    recovered_ms: Time from the end until five consecutive searches of one client took at most 1.25 times their
        earlier median; at most the observed time.
    """

    sent_per_s: float
    per_s: float
    p50_ms: float
    p99_ms: float
    limit_ms: float
    refused: int
    refused_p50_ms: float
    failed: int
    lag_ms: float
    clients_cpu: float
    recovered_ms: float


class _Raw:
    """The raw limit of throughput and of one query."""

    def __init__(self, model: bytes, photos: Sequence[Path]) -> None:
        self._photos = photos
        self._images = [path.read_bytes() for path in photos]
        self._all = RawLimit(model, _CORES, threads=1)
        self._alone = RawLimit(model, 1, threads=_CORES)
        self._single = RawLimit(model, 1, threads=1)

    def per_s(self) -> float:
        return len(self._photos) / self._all.index_s(self._photos, 1)

    def alone_ms(self) -> float:
        return 1000 * statistics.median(self._alone.query_s(image) for image in self._images)

    def service_ms(self) -> float:
        return 1000 * statistics.median(self._single.query_s(image) for image in self._images)


def main() -> None:
    """Measure, print and store."""
    parser = option_parser("serving.load", __doc__)
    parser.add_argument(
        "--requests", type=int, default=0, help="number of searches for measuring memory (default: none)"
    )
    options = parser.parse_args()
    seconds = 1.0 if options.smoke else 6.0
    photos = [one.path for one in sample(list_photos(options.photos, "validation"), 20 if options.smoke else 100)]
    images = [path.read_bytes() for path in photos]
    train = list_photos(options.photos, "train")
    with tempfile.TemporaryDirectory(prefix="parecido-benchmark-") as directory:
        data = DataDirectory(Path(directory, "data"))
        indexed = sample(train, 100) if options.smoke else train
        catalogue = write_catalogue(indexed, options.photos, Path(directory, "catalogue.jsonl"))
        build_snapshot(catalogue, data.root, *(SMOKE if options.smoke else ()))
        raw = _Raw(data.paths(data.current_id()).embedder.read_bytes(), photos)
        with service(data.root) as running:
            run_in_fresh_process(ask_without_pause, running.port, _PATH, images, _CORES, 1.0)  # warm up
            rows = [_throughput(running.port, _PATH, images, clients, seconds, raw) for clients in _CLIENTS]
            print_records("Clients without a pause", [asdict(row) for row in rows])
            alone = _alone(running, images, seconds, raw)
            print_records("One client", [alone])
            overload = _overload(running, images, seconds, raw)
            print_records(f"{_OVERLOAD} times the raw limit", [asdict(overload)])
            memory = _memory(running, images, options.requests)
            if memory:
                print_records("Memory of the worker", memory)
        with notebook_service(data.root) as port:
            run_in_fresh_process(ask_without_pause, port, "/search", images, 1, 1.0)
            notebook = [_throughput(port, "/search", images, clients, seconds, raw) for clients in (1, 4)]
        print_records("Baseline notebook behind Flask's development server", [asdict(row) for row in notebook])
    print_records("Side by side", _side_by_side(rows, notebook))
    figures = {
        "throughput": [asdict(row) for row in rows],
        "alone": alone,
        "overload": asdict(overload),
        "memory": memory,
        "notebook": [asdict(row) for row in notebook],
    }
    store("load", options.smoke, figures)


def _throughput(port: int, path: str, images: Sequence[bytes], clients: int, seconds: float, raw: _Raw) -> Throughput:
    """Measure in short blocks that alternate with the raw limit, so that noise affects both."""
    blocks, raw_per_s = [], [raw.per_s()]
    for _ in range(_BLOCKS):
        blocks.append(run_in_fresh_process(ask_without_pause, port, path, images, clients, seconds / _BLOCKS))
        raw_per_s.append(raw.per_s())
    waited = [one for block in blocks for one in block.waited_ms]
    took_s = sum(block.seconds for block in blocks)
    limit = statistics.median(raw_per_s)
    return Throughput(
        clients=clients,
        per_s=len(waited) / took_s,
        raw_per_s=limit,
        share=len(waited) / took_s / limit,
        p50_ms=_percentile(waited, 50),
        p99_ms=_percentile(waited, 99),
        refused=sum(len(block.refused_ms) for block in blocks),
        failed=sum(len(block.failed) for block in blocks),
        clients_cpu=sum(block.cpu_s for block in blocks) / took_s,
    )


def _alone(running: Service, images: Sequence[bytes], seconds: float, raw: _Raw) -> dict[str, float]:
    """Compare one client's median with a raw query on all cores' threads, in alternating blocks."""
    ours, theirs = [], []
    for _ in range(_BLOCKS):
        ours += run_in_fresh_process(ask_without_pause, running.port, _PATH, images, 1, seconds / _BLOCKS).waited_ms
        theirs.append(raw.alone_ms())
    p50_ms, raw_p50_ms = _percentile(ours, 50), statistics.median(theirs)
    return {"p50_ms": p50_ms, "raw_p50_ms": raw_p50_ms, "p50_ratio": p50_ms / raw_p50_ms}


def _overload(running: Service, images: Sequence[bytes], seconds: float, raw: _Raw) -> Overload:
    before = run_in_fresh_process(ask_without_pause, running.port, _PATH, images, 1, seconds / 2)
    normal_ms = _NORMAL * _percentile(before.waited_ms, 50)
    per_s = _OVERLOAD * raw.per_s()
    deadline_ms = 1000 * ServiceSettings().queue_deadline_s
    asked, after = run_in_fresh_process(_overload_and_after, running.port, images, per_s, seconds)
    return Overload(
        sent_per_s=per_s,
        per_s=len(asked.waited_ms) / asked.seconds,
        p50_ms=_percentile(asked.waited_ms, 50),
        p99_ms=_percentile(asked.waited_ms, 99),
        limit_ms=deadline_ms + 2 * raw.service_ms(),
        refused=len(asked.refused_ms),
        refused_p50_ms=_percentile(asked.refused_ms, 50),
        failed=len(asked.failed),
        lag_ms=asked.lag_ms,
        clients_cpu=asked.cpu_s / asked.seconds,
        recovered_ms=_recovered_ms(after.waited_ms, normal_ms),
    )


def _overload_and_after(port: int, images: Sequence[bytes], per_s: float, seconds: float) -> tuple[Asked, Asked]:
    """Send the overload, then search with one client without delay."""
    return ask_at_rate(port, _PATH, images, per_s, seconds), ask_without_pause(port, _PATH, images, 1, 5.0)


def _recovered_ms(waited_ms: Sequence[float], normal_ms: float) -> float:
    for start in range(len(waited_ms) - _IN_A_ROW + 1):
        if statistics.median(waited_ms[start : start + _IN_A_ROW]) <= normal_ms:
            return sum(waited_ms[:start])
    return sum(waited_ms)


def _memory(running: Service, images: Sequence[bytes], requests: int) -> list[dict[str, float | int]]:
    """Return memory after each tenth of the searches; the first row is after the warm-up."""
    rows: list[dict[str, float | int]] = []
    done = 0
    while requests and done < requests:
        asked = run_in_fresh_process(ask_without_pause, running.port, _PATH, images, 2 * _CORES, 5.0)
        done += len(asked.waited_ms)
        if done >= len(rows) * requests / 10:
            rows.append({"searches": done, **{f"{name}_mb": size for name, size in running.worker_mb().items()}})
            rows[-1]["of_the_first"] = float(rows[-1]["Rss_mb"]) / float(rows[0]["Rss_mb"])
    return rows


def _side_by_side(ours: Sequence[Throughput], notebook: Sequence[Throughput]) -> list[dict[str, object]]:
    """Compare also with what clip-retrieval publishes (its README), measured on another machine."""
    rows: list[dict[str, object]] = [
        {"": "ours", "one client, p50 ms": ours[0].p50_ms, "maximum per second": max(row.per_s for row in ours)},
        {
            "": "baseline notebook, Flask's server",
            "one client, p50 ms": notebook[0].p50_ms,
            "maximum per second": max(row.per_s for row in notebook),
        },
    ]
    return [*rows, {"": "clip-retrieval, as published", "one client, p50 ms": 50.0, "maximum per second": 20.0}]


def _percentile(values: Sequence[float], percent: float) -> float:
    return float(np.percentile(values, percent)) if values else float("nan")


if __name__ == "__main__":
    main()
