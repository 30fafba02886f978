"""Latency of a query over HTTP, compared with raw decoding and inference of the same photos."""

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.harness.raw_limit import RawLimit
from benchmarks.harness.service_process import Client, Service, service

_BLOCK = 10
_WARM_UP = 5


@dataclass(frozen=True)
class QuerySpeed:
    """Latency of one client with one worker.

    Attributes:
    inference_threads: Threads per inference, for both.
    queries: Number of queries.
    p50_ms: Median time from sending an upload to having read the response.
    p95_ms: 95th percentile of it.
    raw_p50_ms: Median of the raw limit.
    raw_p95_ms: 95th percentile of it.
    p50_ratio: `p50_ms / raw_p50_ms`.
    inside_ms: Median of the time reported by the service; the rest is HTTP on both sides.
    ready_s: Median time from start until ready.
    worker_rss_mb: Resident memory of the worker after the queries.
    worker_pss_mb: The same, with pages shared with the parent counted half.
    """

    inference_threads: int
    queries: int
    p50_ms: float
    p95_ms: float
    raw_p50_ms: float
    raw_p95_ms: float
    p50_ratio: float
    inside_ms: float
    ready_s: float
    worker_rss_mb: float
    worker_pss_mb: float


def measure_queries(
    data: Path, model: bytes, photos: Sequence[Path], inference_threads: int, starts: int
) -> QuerySpeed:
    """Search with each photo, in short blocks that alternate with the raw limit.

    Args:
    data: The data directory to serve.
    model: Bytes of `embedder.tflite`, for the raw limit.
    photos: One per query.
    inference_threads: Threads per inference.
    starts: How often the service is started; the last one answers the queries.
    """
    ready_s = []
    for _ in range(starts - 1):
        with service(data, inference_threads=inference_threads) as running:
            ready_s.append(running.ready_s)
    raw = RawLimit(model, interpreters=1, threads=inference_threads)
    images = [path.read_bytes() for path in photos]
    with service(data, inference_threads=inference_threads) as running:
        ready_s.append(running.ready_s)
        _search_s(running, images[:_WARM_UP])
        ours_s, inside_ms, raw_s = [], [], []
        for start in range(0, len(images), _BLOCK):
            block = images[start : start + _BLOCK]
            for seconds, answer in _search_s(running, block):
                ours_s.append(seconds)
                inside_ms.append(json.loads(answer)["timing_ms"]["total"])
            raw_s += [raw.query_s(image) for image in block]
        memory = running.worker_mb()
    p50_ms, p95_ms = _percentiles_ms(ours_s)
    raw_p50_ms, raw_p95_ms = _percentiles_ms(raw_s)
    return QuerySpeed(
        inference_threads=inference_threads,
        queries=len(images),
        p50_ms=p50_ms,
        p95_ms=p95_ms,
        raw_p50_ms=raw_p50_ms,
        raw_p95_ms=raw_p95_ms,
        p50_ratio=p50_ms / raw_p50_ms,
        inside_ms=statistics.median(inside_ms),
        ready_s=statistics.median(ready_s),
        worker_rss_mb=memory["Rss"],
        worker_pss_mb=memory["Pss"],
    )


def _search_s(running: Service, images: Sequence[bytes]) -> list[tuple[float, bytes]]:
    """Return seconds and response of each search, over one connection."""
    client, found = Client(running.port), []
    for image in images:
        started = time.perf_counter()
        answer = client.search(image)
        found.append((time.perf_counter() - started, answer))
    client.close()
    return found


def _percentiles_ms(seconds: Sequence[float]) -> tuple[float, float]:
    p50, p95 = np.percentile(np.asarray(seconds) * 1000, [50, 95])
    return float(p50), float(p95)
