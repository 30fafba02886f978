"""What Prometheus is told: requests and queries as they come, and what is served. Knows nothing of the web.

Counters and histograms are prometheus_client's: it adds them up over all workers, also those that have ended, where the
environment's `PROMETHEUS_MULTIPROC_DIR` named a directory when it was imported. Gauges come from the workers' states.
"""

import os
import platform
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric

from search_service.admission.controller import AdmissionObserver, RejectReason
from search_service.engine.engine import Engine
from search_service.observability.process_usage import UsageMeter
from search_service.observability.worker_counters import ENDED, ENDED_ABOUT, WorkerCounters
from search_service.observability.worker_states import Served, WorkerState, WorkerStates
from search_service.snapshots.watcher import SnapshotRejection
from shared import __version__
from shared.feedback_record import Feedback
from shared.images.decode_pool import REASONS, Reason
from shared.retrieval.results import SearchResult

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
UNMATCHED = "unmatched"
_OTHER = "other"
# A client may send any word as method; labels have only these, and `_OTHER`.
_POLLED_EVERY_S = 1.0
_METHODS = frozenset(("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"))
_OTHER_WORK = ("search_", "fetch_")
_STAGES = ("decode", "embed", "classify", "search")
_VERDICTS = {True: "known", False: "unknown"}
_FEEDBACK_KINDS = ("category", "click")
_PREDICTIONS = ("right", "wrong")
_REQUEST_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_STAGE_BOUNDS_S = (0.0001, 0.00025, 0.0005, *_REQUEST_BOUNDS_S[:-2])
_WIDTH_BOUNDS = (1, 2, 3, 5, 10, 20, 50, 100)
_CONFIDENCE_BOUNDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)


class Metrics:
    """Counts what one worker does, and tells it with what the others did. Observes the worker's `SnapshotWatcher`."""

    def __init__(self, uncertain_below: float, directory: Path | None = None) -> None:
        """Make them, each at 0.

        Args:
            uncertain_below: a classified query with a lower confidence counts as uncertain.
            directory: that the workers share, the one in `PROMETHEUS_MULTIPROC_DIR`; None for a single process.
        """
        self._uncertain_below = uncertain_below
        self._shared = WorkerCounters(directory) if directory else None
        self._states = WorkerStates(directory)
        self._state = WorkerState()
        self._meter = UsageMeter()
        self._registry = CollectorRegistry()
        self._requests = self._counter(
            "parecido_requests_total", "Requests answered, by URL rule.", ("route", "method", "status")
        )
        self._errors = self._counter(
            "parecido_errors_total", "Errors answered, by their code; in a batch, those of single queries.", ("code",)
        )
        self._request_seconds = self._histogram(
            "parecido_request_seconds", "From a request's arrival to its answer.", _REQUEST_BOUNDS_S, ("route",)
        )
        stages = self._histogram(
            "parecido_stage_seconds",
            "Time in a stage of a query, where it had that stage.",
            _STAGE_BOUNDS_S,
            ("stage",),
        )
        self._stages = {stage: stages.labels(stage) for stage in _STAGES}
        self._confidence = self._histogram(
            "parecido_confidence", "Probability of the most probable category of a query.", _CONFIDENCE_BOUNDS
        )
        self._partitions_searched = self._histogram(
            "parecido_partitions_searched", "Partitions that were searched for a query, where any was.", _WIDTH_BOUNDS
        )
        self._uncertain = self._counter(
            "parecido_uncertain_queries_total", "Queries with a confidence below PARECIDO_PROBE_COVERAGE."
        )
        self._judged = self._counter(
            "parecido_judged_queries_total", "Queries, by whether they show one of the categories.", ("verdict",)
        )
        for verdict in _VERDICTS.values():
            self._judged.labels(verdict)  # so that each begins at 0
        self._feedback = self._counter(
            "parecido_feedback_total",
            "Feedback kept; was the prediction right?",
            ("kind", "prediction"),
        )
        for kind in _FEEDBACK_KINDS:
            for prediction in _PREDICTIONS:
                self._feedback.labels(kind, prediction)  # so that each begins at 0
        self._waiting = Gauge(
            "parecido_waiting_queries",
            "Queries that wait for a core.",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        self._wait_seconds = self._histogram(
            "parecido_wait_seconds", "How long queries by an image waited for a core.", _STAGE_BOUNDS_S
        )
        self._refused_queries = self._counter(
            "parecido_refused_queries_total", "Queries for which nothing was done, or no more.", ("reason",)
        )
        for work in ("", *_OTHER_WORK):
            for reason in get_args(RejectReason):
                self._refused_queries.labels(work + reason)  # so that each begins at 0
        self._decoders = self._counter(
            "parecido_decoders_replaced_total", "Processes that decode images and had to be replaced.", ("reason",)
        )
        for cause in REASONS:
            self._decoders.labels(cause)  # so that each begins at 0
        self._swaps = self._counter("parecido_snapshot_swaps_total", "Snapshots swapped for another, in all workers.")
        self._refusals = self._counter("parecido_snapshot_refusals_total", "Snapshots refused, in all workers.")
        self._counter(f"{ENDED}_total", ENDED_ABOUT)  # is at 0; who forks the workers counts

    def request(self, route: str | None, method: str, status: int, seconds: float | None = None) -> None:
        """Count a request.

        Args:
            route: the rule that its URL matched; None where it matched none.
            method: of HTTP, as the client sent it.
            status: of the answer.
            seconds: from its arrival to its answer; None where it was refused before the application had it.
        """
        route = route or UNMATCHED
        self._requests.labels(route, method if method in _METHODS else _OTHER, status).inc()
        if seconds is not None:
            self._request_seconds.labels(route).observe(seconds)

    def error(self, code: str) -> None:
        """Count an error that was answered."""
        self._errors.labels(code).inc()

    def query(self, answer: SearchResult, is_classified: bool) -> None:
        """Count a query by what was answered.

        Args:
            answer: to it.
            is_classified: whether the classifier was needed; an item's category is known.
        """
        for stage, histogram in self._stages.items():
            if answer.timing_ms[stage] > 0:
                histogram.observe(answer.timing_ms[stage] / 1000)
        if answer.searched:
            self._partitions_searched.observe(len(answer.searched))
        if is_classified:
            confidence = answer.candidates[0].confidence
            self._confidence.observe(confidence)
            if confidence < self._uncertain_below:
                self._uncertain.inc()
        if answer.ood_verdict.in_distribution is not None:
            self._judged.labels(_VERDICTS[answer.ood_verdict.in_distribution]).inc()

    def feedback(self, record: Feedback) -> None:
        """Count feedback that was kept; a click on an item counts as one also where the category was named too."""
        kind = "category" if record.clicked_item_id is None else "click"
        self._feedback.labels(kind, "right" if record.predicted_category == record.category else "wrong").inc()

    def waiting(self, change: int) -> None:
        """So many more queries wait for a core, or fewer."""
        self._waiting.inc(change)

    def admitted(self, waited_s: float) -> None:
        """A query has got a core."""
        self._wait_seconds.observe(waited_s)

    def rejected_query(self, reason: RejectReason) -> None:
        """A query was refused before anything was done for it."""
        self._refused_queries.labels(reason).inc()

    @property
    def of_searches(self) -> AdmissionObserver:
        """Counts costly searches that were refused."""
        return _Refusals(self._refused_queries, "search_")

    @property
    def of_fetches(self) -> AdmissionObserver:
        """Counts images at a URL that were not fetched since too many were."""
        return _Refusals(self._refused_queries, "fetch_")

    def decoder_replaced(self, reason: Reason) -> None:
        """A process that decodes images has died, or was killed, and is replaced."""
        self._decoders.labels(reason).inc()

    def swapped(self, engine: Engine) -> None:
        """Note what is served from now on; the first snapshot of a worker is no swap."""
        if self._state.served is not None:
            self._swaps.inc()
        created_s = datetime.fromisoformat(engine.manifest.created_at).timestamp()
        items = {entry.name: entry.items for entry in engine.manifest.categories}
        served = Served(engine.snapshot_id, created_s, time.time(), items)
        self._put(replace(self._state, served=served, is_refusing=False))

    def refused(self, refusal: SnapshotRejection) -> None:
        """Note that what is published is not served; until something is served, it has to be a snapshot."""
        is_refusing = refusal.published is not None or self._state.served is not None
        if is_refusing:
            self._refusals.inc()
        self._put(replace(self._state, is_refusing=is_refusing))

    def recovered(self) -> None:
        """Note that what is served is what is published again."""
        self._put(replace(self._state, is_refusing=False))

    def watching(self, is_opening: bool) -> None:
        """Note that the watch is alive, and whether it opens a snapshot.

        Once a second at most, where nothing has changed: it is a file that is written.
        """
        now_s, last_s = time.time(), self._state.polled_s
        if is_opening != self._state.is_opening or last_s is None or not 0 <= now_s - last_s < _POLLED_EVERY_S:
            self._put(replace(self._state, is_opening=is_opening, polled_s=now_s))

    def text(self) -> bytes:
        """Everything, of all workers, in the text format of `CONTENT_TYPE`."""
        return generate_latest(self)

    def collect(self) -> Iterator[Metric]:
        """Everything, of all workers, as prometheus_client wants it."""
        if self._shared is None:
            yield from map(_without_created, self._registry.collect())
        else:
            yield from self._shared.collect()
        yield from _gauges(self._states.all())
        yield from _processes(self._states.pids(), self._meter)

    def _put(self, state: WorkerState) -> None:
        self._state = state
        self._states.put(state)

    def _counter(self, name: str, about: str, labels: Iterable[str] = ()) -> Counter:
        return Counter(name, about, labels, registry=self._registry)

    def _histogram(self, name: str, about: str, bounds: tuple[float, ...], labels: Iterable[str] = ()) -> Histogram:
        return Histogram(name, about, labels, registry=self._registry, buckets=bounds)


class _Refusals:
    """Counts what is refused of other work than decoding and embedding, by reasons that begin with its name."""

    def __init__(self, counter: Counter, work: str) -> None:
        self._counter, self._work = counter, work

    def waiting(self, change: int) -> None:
        """Nothing: it is images that wait long."""

    def admitted(self, waited_s: float) -> None:
        """Nothing."""

    def rejected_query(self, reason: RejectReason) -> None:
        self._counter.labels(self._work + reason).inc()


def _without_created(metric: Metric) -> Metric:
    """Without the time at which a counter was made, which several processes do not tell either."""
    metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
    return metric


def _gauges(states: list[WorkerState]) -> Iterator[Metric]:
    """What the workers serve. While they swap, one after the other, it is the new snapshot whose items are told."""
    served = [state.served for state in states if state.served is not None]
    is_ready = bool(states) and len(served) == len(states)
    yield GaugeMetricFamily("parecido_ready", "1 where every worker serves a snapshot.", value=is_ready)
    is_refused = any(state.is_refusing for state in states)
    yield GaugeMetricFamily(
        "parecido_snapshot_refused", "1 while a worker refuses what is published.", value=is_refused
    )
    yield GaugeMetricFamily(
        "parecido_snapshot_opening",
        "1 while a worker opens a snapshot.",
        value=any(state.is_opening for state in states),
    )
    polled = [state.polled_s for state in states if state.polled_s is not None]
    yield GaugeMetricFamily(
        "parecido_watch_age_seconds",
        "Since the worker that is furthest behind looked at what is published.",
        value=max(0.0, time.time() - min(polled)) if polled else 0.0,
    )
    info = GaugeMetricFamily(
        "parecido_snapshot_info", "1 for each snapshot that a worker serves.", labels=["snapshot_id"]
    )
    for snapshot_id in sorted({one.snapshot_id for one in served}):
        info.add_metric([snapshot_id], 1)
    created = GaugeMetricFamily(
        "parecido_snapshot_created_timestamp_seconds",
        "When the oldest snapshot that a worker serves was built.",
        labels=(),
    )
    items = GaugeMetricFamily("parecido_partition_items", "Items of a category.", labels=["category"])
    if served:
        created.add_metric([], min(one.created_s for one in served))
        for category, count in max(served, key=lambda one: one.since_s).items.items():
            items.add_metric([category], count)
    yield from (info, created, items)


def _processes(pids: list[int], meter: UsageMeter) -> Iterator[Metric]:
    """What runs, and what it takes of the machine."""
    build = GaugeMetricFamily("parecido_build_info", "1; the versions are labels.", labels=["version", "python"])
    build.add_metric([__version__, platform.python_version()], 1)
    yield build
    yield GaugeMetricFamily("parecido_workers", "Workers that have told their state.", value=len(pids))
    if (found := meter.usage(pids, os.getppid())) is None:
        return
    yield GaugeMetricFamily(
        "parecido_memory_bytes", "Memory of all workers; what they share counts once.", value=found.memory_bytes
    )
    yield GaugeMetricFamily("parecido_open_files", "Open files of the worker with the most.", value=found.open_files)
    if found.cpu_s is not None:
        yield CounterMetricFamily("parecido_cpu_seconds", "CPU time of all workers.", value=found.cpu_s)
