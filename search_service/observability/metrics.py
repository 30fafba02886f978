"""Prometheus metrics of requests, queries and snapshots.

Counters and histograms are prometheus_client's: it adds them up over all workers, also those that have ended, if
`PROMETHEUS_MULTIPROC_DIR` named a directory when it was imported. Gauges come from the workers' states.
"""

import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric

from search_service.admission.observer import AdmissionObserver, NoObserver, RejectReason
from search_service.observability.process_usage import UsageMeter
from search_service.observability.worker_counters import ENDED, ENDED_HELP, WorkerCounters
from search_service.observability.worker_gauges import process_metrics, snapshot_gauges
from search_service.observability.worker_states import ServedSnapshot, WorkerState, WorkerStates
from shared.feedback_record import FeedbackRecord
from shared.images.decode_pool.pool import REASONS, Reason
from shared.manifest import Manifest
from shared.retrieval.results import SearchResult

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
UNMATCHED = "unmatched"
_OTHER = "other"
# A client may send any word as method; labels have only these, and `_OTHER`.
_METHODS = frozenset(("CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"))
_POLLED_EVERY_S = 1.0
_SEARCH, _FETCH = "search_", "fetch_"  # prefixes of reasons
_STAGES = ("decode", "embed", "classify", "search")
_VERDICTS = {True: "known", False: "unknown"}
_FEEDBACK_KINDS = ("category", "click")
_PREDICTIONS = ("right", "wrong")
_REQUEST_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_STAGE_BUCKETS_S = (0.0001, 0.00025, 0.0005, *_REQUEST_BUCKETS_S[:-2])
_PARTITION_BUCKETS = (1, 2, 3, 5, 10, 20, 50, 100)
_CONFIDENCE_BUCKETS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)


class Metrics:
    """Counts the work of one worker, and reports that of all. Observes admission, decoders and snapshots."""

    def __init__(self, uncertain_below: float, directory: Path | None = None) -> None:
        """Make the metrics, each at 0.

        Args:
            uncertain_below: a classified query with a lower confidence counts as uncertain.
            directory: shared by the workers, as in `PROMETHEUS_MULTIPROC_DIR`; None for a single process.
        """
        self._uncertain_below = uncertain_below
        self._worker_counters = WorkerCounters(directory) if directory else None
        self._states = WorkerStates(directory)
        self._state = WorkerState()
        self._meter = UsageMeter()
        self._registry = CollectorRegistry()
        self._make_request_metrics()
        self._make_query_metrics()
        self._make_load_metrics()
        self._swaps = self._counter("parecido_snapshot_swaps_total", "Snapshots swapped for another, over all workers.")
        self._refusals = self._counter("parecido_snapshot_refusals_total", "Snapshots rejected, over all workers.")
        self._counter(f"{ENDED}_total", ENDED_HELP)  # stays at 0 here; the arbiter counts

    def _make_request_metrics(self) -> None:
        self._requests = self._counter(
            "parecido_requests_total", "Requests, by URL rule.", ("route", "method", "status")
        )
        self._errors = self._counter(
            "parecido_errors_total", "Errors, by code; also those of single queries in a batch.", ("code",)
        )
        self._request_seconds = self._histogram(
            "parecido_request_seconds", "Time from a request's arrival to its response.", _REQUEST_BUCKETS_S, ("route",)
        )

    def _make_query_metrics(self) -> None:
        stages = self._histogram(
            "parecido_stage_seconds", "Time in each stage that a query had.", _STAGE_BUCKETS_S, ("stage",)
        )
        self._stages = {stage: stages.labels(stage) for stage in _STAGES}
        self._confidence = self._histogram(
            "parecido_confidence", "Probability of a query's most probable category.", _CONFIDENCE_BUCKETS
        )
        self._partitions_searched = self._histogram(
            "parecido_partitions_searched", "Partitions searched for a query, if any.", _PARTITION_BUCKETS
        )
        self._uncertain = self._counter(
            "parecido_uncertain_queries_total", "Queries with a confidence below PARECIDO_PROBE_COVERAGE."
        )
        self._judged = self._counter(
            "parecido_judged_queries_total", "Queries, by the result of out-of-distribution detection.", ("verdict",)
        )
        self._feedback = self._counter(
            "parecido_feedback_total",
            "Feedback, by kind and by whether the prediction was right.",
            ("kind", "prediction"),
        )
        # Every label begins at 0.
        for verdict in _VERDICTS.values():
            self._judged.labels(verdict)
        for kind in _FEEDBACK_KINDS:
            for prediction in _PREDICTIONS:
                self._feedback.labels(kind, prediction)

    def _make_load_metrics(self) -> None:
        self._waiting = Gauge(
            "parecido_waiting_queries", "Queued queries.", registry=self._registry, multiprocess_mode="livesum"
        )
        self._wait_seconds = self._histogram(
            "parecido_wait_seconds", "Time of image queries in the queue.", _STAGE_BUCKETS_S
        )
        self._refused_queries = self._counter(
            "parecido_refused_queries_total", "Queries rejected or dropped, by reason.", ("reason",)
        )
        self._decoders = self._counter(
            "parecido_decoders_replaced_total", "Image decoder processes that were replaced, by reason.", ("reason",)
        )
        # Every label begins at 0.
        for work in ("", _SEARCH, _FETCH):
            for reason in get_args(RejectReason):
                self._refused_queries.labels(work + reason)
        for cause in REASONS:
            self._decoders.labels(cause)

    def request(self, route: str | None, method: str, status: int, seconds: float | None = None) -> None:
        """Count a request.

        Args:
            route: the URL rule; None if no rule matched.
            method: of HTTP, as the client sent it.
            status: of the response.
            seconds: from arrival to response; None if the request was rejected before it reached the application.
        """
        route = route or UNMATCHED
        self._requests.labels(route, method if method in _METHODS else _OTHER, status).inc()
        if seconds is not None:
            self._request_seconds.labels(route).observe(seconds)

    def error(self, code: str) -> None:
        """Count an error."""
        self._errors.labels(code).inc()

    def query(self, result: SearchResult, is_classified: bool) -> None:
        """Count an answered query.

        Args:
            result: of the search or classification.
            is_classified: True if the classifier predicted the category; that of an item is known.
        """
        for stage, histogram in self._stages.items():
            if result.timing_ms[stage] > 0:
                histogram.observe(result.timing_ms[stage] / 1000)
        if result.searched:
            self._partitions_searched.observe(len(result.searched))
        if is_classified:
            confidence = result.candidates[0].confidence
            self._confidence.observe(confidence)
            if confidence < self._uncertain_below:
                self._uncertain.inc()
        if result.ood_verdict.in_distribution is not None:
            self._judged.labels(_VERDICTS[result.ood_verdict.in_distribution]).inc()

    def feedback(self, record: FeedbackRecord) -> None:
        """Count feedback; with a clicked item it is a click, even if it also names the category."""
        kind = "category" if record.clicked_item_id is None else "click"
        self._feedback.labels(kind, "right" if record.predicted_category == record.category else "wrong").inc()

    def waiting(self, change: int) -> None:
        """Add `change` to the number of queued queries."""
        self._waiting.inc(change)

    def admitted(self, waited_s: float) -> None:
        """Observe the time that an admitted query was queued."""
        self._wait_seconds.observe(waited_s)

    def rejected_query(self, reason: RejectReason) -> None:
        """Count a rejected query."""
        self._refused_queries.labels(reason).inc()

    @property
    def of_searches(self) -> AdmissionObserver:
        """Counts rejected costly searches."""
        return _RejectionCounter(self._refused_queries, _SEARCH)

    @property
    def of_fetches(self) -> AdmissionObserver:
        """Counts rejected image downloads."""
        return _RejectionCounter(self._refused_queries, _FETCH)

    def decoder_replaced(self, reason: Reason) -> None:
        """Count a decoder process that died or was killed, and was replaced."""
        self._decoders.labels(reason).inc()

    def swapped(self, manifest: Manifest) -> None:
        """Note the snapshot that is served from now on; the first one of a worker is not a swap."""
        if self._state.served is not None:
            self._swaps.inc()
        created_s = datetime.fromisoformat(manifest.created_at).timestamp()
        items = {entry.name: entry.items for entry in manifest.categories}
        served = ServedSnapshot(manifest.snapshot_id, created_s, time.time(), items)
        self._put(replace(self._state, served=served, is_rejecting=False))

    def rejected(self, snapshot_id: str | None) -> None:
        """Note that the published snapshot is not served; before one is served, only a snapshot can be rejected."""
        is_rejecting = snapshot_id is not None or self._state.served is not None
        if is_rejecting:
            self._refusals.inc()
        self._put(replace(self._state, is_rejecting=is_rejecting))

    def recovered(self) -> None:
        """Note that the published snapshot is again the served one."""
        self._put(replace(self._state, is_rejecting=False))

    def polled(self, is_opening: bool) -> None:
        """Note that polling goes on, and whether a snapshot is being opened; writes a file at most once a second."""
        now_s, last_s = time.time(), self._state.polled_s
        if is_opening != self._state.is_opening or last_s is None or not 0 <= now_s - last_s < _POLLED_EVERY_S:
            self._put(replace(self._state, is_opening=is_opening, polled_s=now_s))

    def text(self) -> bytes:
        """Return the metrics of all workers as `CONTENT_TYPE`."""
        return generate_latest(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics of all workers, for prometheus_client."""
        if self._worker_counters is None:
            yield from map(_without_created, self._registry.collect())
        else:
            yield from self._worker_counters.collect()
        yield from snapshot_gauges(self._states.all())
        pids = self._states.pids()
        yield from process_metrics(len(pids), self._meter.usage(pids, os.getppid()))

    def _put(self, state: WorkerState) -> None:
        self._state = state
        self._states.put(state)

    def _counter(self, name: str, about: str, labels: Iterable[str] = ()) -> Counter:
        return Counter(name, about, labels, registry=self._registry)

    def _histogram(self, name: str, about: str, buckets: tuple[float, ...], labels: Iterable[str] = ()) -> Histogram:
        return Histogram(name, about, labels, registry=self._registry, buckets=buckets)


class _RejectionCounter(NoObserver):
    """Counts the rejections of one kind of work by reasons with its prefix."""

    def __init__(self, counter: Counter, prefix: str) -> None:
        self._counter, self._prefix = counter, prefix

    def rejected_query(self, reason: RejectReason) -> None:
        self._counter.labels(self._prefix + reason).inc()


def _without_created(metric: Metric) -> Metric:
    """Return a metric without its `_created` samples, which several processes don't have either."""
    metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
    return metric
