"""Prometheus metrics made from the workers' states and processes at each scrape."""

import platform
import time
from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from search_service.observability.process_usage import Usage
from search_service.observability.worker_states import WorkerState
from shared import __version__


def snapshot_gauges(states: list[WorkerState]) -> Iterator[Metric]:
    """Yield the gauges of the served snapshots; while workers swap one by one, the items are the new snapshot's."""
    served = [state.served for state in states if state.served is not None]
    polled = [state.polled_s for state in states if state.polled_s is not None]
    yield GaugeMetricFamily(
        "parecido_ready", "1 if every worker serves a snapshot.", value=bool(states) and len(served) == len(states)
    )
    yield GaugeMetricFamily(
        "parecido_snapshot_refused",
        "1 while a worker rejects the published snapshot.",
        value=any(state.is_rejecting for state in states),
    )
    yield GaugeMetricFamily(
        "parecido_snapshot_opening",
        "1 while a worker opens a snapshot.",
        value=any(state.is_opening for state in states),
    )
    yield GaugeMetricFamily(
        "parecido_watch_age_seconds",
        "Longest time since a worker polled the published snapshot.",
        value=max(0.0, time.time() - min(polled)) if polled else 0.0,
    )
    info = GaugeMetricFamily(
        "parecido_snapshot_info", "1 for each snapshot that a worker serves.", labels=["snapshot_id"]
    )
    created = GaugeMetricFamily(
        "parecido_snapshot_created_timestamp_seconds",
        "Build time of the oldest snapshot that a worker serves.",
        labels=(),
    )
    items = GaugeMetricFamily("parecido_partition_items", "Items of each category.", labels=["category"])
    for snapshot_id in sorted({snapshot.snapshot_id for snapshot in served}):
        info.add_metric([snapshot_id], 1)
    if served:
        created.add_metric([], min(snapshot.created_s for snapshot in served))
        for category, count in max(served, key=lambda snapshot: snapshot.since_s).items.items():
            items.add_metric([category], count)
    yield from (info, created, items)


def process_metrics(n_workers: int, usage: Usage | None) -> Iterator[Metric]:
    """Yield the version and the resource usage; `usage` is None where it cannot be measured."""
    build = GaugeMetricFamily("parecido_build_info", "1; the versions are labels.", labels=["version", "python"])
    build.add_metric([__version__, platform.python_version()], 1)
    yield build
    yield GaugeMetricFamily("parecido_workers", "Workers that have reported their state.", value=n_workers)
    if usage is None:
        return
    yield GaugeMetricFamily(
        "parecido_memory_bytes", "Memory of all workers; shared memory counts once.", value=usage.memory_bytes
    )
    yield GaugeMetricFamily("parecido_open_files", "Open files of the worker with the most.", value=usage.open_files)
    if usage.cpu_s is not None:
        yield CounterMetricFamily("parecido_cpu_seconds", "CPU time of all workers.", value=usage.cpu_s)
