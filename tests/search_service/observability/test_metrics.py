"""`GET /metrics` of one process, moved by real requests; tests/end_to_end/test_metrics.py has several workers."""

import base64
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from search_service.app import create_app
from search_service.engine.engine import Engine
from search_service.observability.metrics import Metrics
from search_service.observability.worker_gauges import snapshot_gauges
from search_service.observability.worker_states import WorkerState, WorkerStates
from search_service.settings import ServiceSettings
from search_service.snapshots.version import SnapshotVersion
from search_service.snapshots.watcher import SnapshotWatcher
from shared.errors import SnapshotError, SnapshotMissing
from shared.manifest import CategoryEntry, Manifest
from tests.support.fakes import fake_manifest, picture

_FAMILIES = {
    "parecido_requests": "counter",
    "parecido_request_seconds": "histogram",
    "parecido_stage_seconds": "histogram",
    "parecido_confidence": "histogram",
    "parecido_uncertain_queries": "counter",
    "parecido_judged_queries": "counter",
    "parecido_feedback": "counter",
    "parecido_wait_seconds": "histogram",
    "parecido_refused_queries": "counter",
    "parecido_decoders_replaced": "counter",
    "parecido_waiting_queries": "gauge",
    "parecido_snapshot_swaps": "counter",
    "parecido_snapshot_refusals": "counter",
    "parecido_ready": "gauge",
    "parecido_snapshot_refused": "gauge",
    "parecido_snapshot_opening": "gauge",
    "parecido_watch_age_seconds": "gauge",
    "parecido_snapshot_info": "gauge",
    "parecido_snapshot_created_timestamp_seconds": "gauge",
    "parecido_partition_items": "gauge",
    "parecido_errors": "counter",
    "parecido_partitions_searched": "histogram",
    "parecido_build_info": "gauge",
    "parecido_workers": "gauge",
    "parecido_workers_ended": "counter",
    "parecido_memory_bytes": "gauge",
    "parecido_open_files": "gauge",
    "parecido_cpu_seconds": "counter",
}
# Change by themselves; tests/search_service/observability/test_process_usage.py.
_OF_THE_MACHINE = ("parecido_memory_bytes", "parecido_open_files", "parecido_cpu_seconds")
_GREEN = base64.b64encode(picture((20, 250, 21))).decode()


@dataclass(frozen=True)
class _SmallEngine:
    """What a watch and its observer need of an engine."""

    snapshot_id: str
    created_at: str = "2026-01-01T00:00:00+00:00"
    items: dict[str, int] = field(default_factory=lambda: {"mugs": 5})

    @property
    def manifest(self) -> Manifest:
        entries = tuple(CategoryEntry(name, items, items, items, "", 1.0) for name, items in self.items.items())
        return fake_manifest(snapshot_id=self.snapshot_id, created_at=self.created_at, categories=entries)

    def close(self) -> None:
        pass


class _Service:
    """An app whose watch is polled by `publish`; snapshots open as the given engines, or fail as the given errors."""

    def __init__(self, *engines: Engine | _SmallEngine, **damaged: Exception) -> None:
        self._opens = {engine.snapshot_id: engine for engine in engines} | damaged
        self._published: SnapshotVersion | Exception = SnapshotMissing("nothing is published")
        metrics = Metrics(0.98)
        self._watch = SnapshotWatcher(self._read, self._open, metrics)
        self.client = create_app(self._watch, ServiceSettings(), metrics).test_client()
        for engine in engines[:1]:
            self.publish(engine.snapshot_id)

    def publish(self, snapshot_id: str | None, polls: int = 1) -> None:
        self._published = SnapshotVersion(snapshot_id, 0) if snapshot_id else SnapshotMissing("nothing is published")
        for _ in range(polls):
            self._watch.poll()

    def _read(self) -> SnapshotVersion:
        if isinstance(self._published, Exception):
            raise self._published
        return self._published

    def _open(self, snapshot_id: str) -> Engine | _SmallEngine:
        if isinstance(self._opens[snapshot_id], Exception):
            raise self._opens[snapshot_id]
        return self._opens[snapshot_id]


def _scrape(client: FlaskClient) -> dict[str, float]:
    """`name{label="value",…}` → value, labels in the order of their names."""
    response = client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(response.text):
        if family.name in _OF_THE_MACHINE:
            continue
        for name, labels, value, *_ in family.samples:
            key = f"{name}{{{','.join(f'{label}={labels[label]}' for label in sorted(labels))}}}"
            assert key not in found
            found[key] = value
    return found


def _named(scraped: dict[str, float], name: str) -> dict[str, float]:
    """The samples of one name, by what is between the braces."""
    return {key[len(name) + 1 : -1]: value for key, value in scraped.items() if key.startswith(name + "{")}


def _moved(client: FlaskClient, *asks: Callable[[], object]) -> dict[str, float]:
    """What these requests changed, and by how much; not the scrapes themselves."""
    before = _scrape(client)
    for ask in asks:
        ask()
    after = _scrape(client)
    changed = {key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)}
    return {key: change for key, change in changed.items() if "route=/metrics" not in key}


@pytest.fixture
def service(engine) -> _Service:
    return _Service(engine)


@pytest.fixture
def classified_as(engine_with) -> Callable[[list[float]], FlaskClient]:
    """Makes a client whose classifier gives these probabilities."""
    return lambda probabilities: _Service(engine_with(probabilities)).client


def _post(client: FlaskClient, path: str = "/v1/search", **body: object) -> Callable[[], object]:
    return lambda: client.post(path, json=body)


def test_there_are_exactly_these_metrics_with_types_and_help(service) -> None:
    _post(service.client, image_base64=_GREEN)()
    service.client.get("/nowhere")
    families = list(text_string_to_metric_families(service.client.get("/metrics").text))
    assert {family.name: family.type for family in families} == _FAMILIES
    assert all(family.documentation and family.samples for family in families)


# Requests


def test_a_request_is_counted_by_rule_method_and_status(service) -> None:
    client = service.client
    moved = _moved(
        client,
        *(lambda item_id=item_id: client.get(f"/v1/items/{item_id}") for item_id in ("mug-1", "%2Fleading", "none")),
        lambda: client.head("/v1/categories"),
        _post(client, item_id="mug-1", top_k=0),
        lambda: client.get("/healthz"),
    )
    rule = "/v1/items/<item_id:item_id>"
    assert _named(moved, "parecido_requests_total") == {
        f"method=GET,route={rule},status=200": 2,
        f"method=GET,route={rule},status=404": 1,
        "method=HEAD,route=/v1/categories,status=200": 1,
        "method=POST,route=/v1/search,status=400": 1,
        "method=GET,route=/healthz,status=200": 1,
    }
    assert _named(moved, "parecido_request_seconds_count") == {
        f"route={rule}": 3,
        "route=/v1/categories": 1,
        "route=/v1/search": 1,
        "route=/healthz": 1,
    }


def test_a_fault_of_our_own_is_counted_as_500() -> None:
    client = _Service(_SmallEngine("broken")).client  # it has no `item`: a bug
    moved = _moved(client, lambda: client.get("/v1/items/x"))
    rule = "/v1/items/<item_id:item_id>"
    assert _named(moved, "parecido_requests_total") == {f"method=GET,route={rule},status=500": 1}


def test_errors_are_counted_by_their_code_also_those_in_a_batch(service) -> None:
    client = service.client
    moved = _moved(
        client,
        lambda: client.get("/nowhere"),
        _post(client, item_id="nobody"),
        _post(client, image_base64=base64.b64encode(b"no image").decode()),
        _post(
            client, "/v1/search/batch", queries=[{"item_id": "nobody"}, {"item_id": "mug-1"}, {"embedding": [0] * 5}]
        ),
    )
    assert _named(moved, "parecido_errors_total") == {
        "code=not_found": 1,
        "code=unknown_item": 2,
        "code=unsupported_image": 1,
        "code=invalid_embedding": 1,
    }


def test_partitions_searched_are_observed(service, catalogue) -> None:
    client = service.client
    moved = _moved(
        client,
        _post(client, image_base64=_GREEN),
        _post(client, image_base64=_GREEN, probe=3),
        _post(client, item_id="mug-1", category=catalogue.hats),
        _post(client, "/v1/classify", image_base64=_GREEN),
    )
    assert _named(moved, "parecido_partitions_searched_count") == {"": 3}
    assert _named(moved, "parecido_partitions_searched_sum") == {"": 5}
    assert moved["parecido_partitions_searched_bucket{le=1.0}"] == 2


def test_scrapes_are_counted_too(service) -> None:
    for number in range(3):
        counted = _named(_scrape(service.client), "parecido_requests_total")
        assert counted.get("method=GET,route=/metrics,status=200", 0) == number


def test_whatever_is_asked_there_are_few_labels(service) -> None:
    client = service.client
    moved = _moved(
        client,
        *(lambda number=number: client.get(f"/nowhere/{number}") for number in range(20)),
        *(lambda number=number: client.open("/healthz", method=f"BREW{number}") for number in range(20)),
        lambda: client.delete("/v1/categories"),
    )
    assert _named(moved, "parecido_requests_total") == {
        "method=GET,route=unmatched,status=404": 20,
        "method=other,route=unmatched,status=405": 20,
        "method=DELETE,route=unmatched,status=405": 1,
    }
    assert _named(moved, "parecido_request_seconds_count") == {"route=unmatched": 41}


def test_a_request_takes_as_long_as_its_stages_at_least(service) -> None:
    moved = _moved(service.client, _post(service.client, image_base64=_GREEN))
    in_stages = sum(_named(moved, "parecido_stage_seconds_sum").values())
    assert 0 < in_stages <= _named(moved, "parecido_request_seconds_sum")["route=/v1/search"] < 60


# Queries


@pytest.mark.parametrize(
    ("path", "body", "stages"),
    [
        ("/v1/search", {"image_base64": _GREEN}, ["classify", "decode", "embed", "search"]),
        ("/v1/search", {"item_id": "mug-1"}, ["classify", "search"]),
        ("/v1/search", {"embedding": [1] * 8}, ["classify", "search"]),
        ("/v1/classify", {"image_base64": _GREEN}, ["classify", "decode", "embed", "search"]),  # it is unsure
        ("/v1/search", {"item_id": "none"}, []),
    ],
)
def test_the_stages_that_a_query_has_are_timed(service, path, body, stages) -> None:
    moved = _moved(service.client, _post(service.client, path, **body))
    assert _named(moved, "parecido_stage_seconds_count") == {f"stage={stage}": 1 for stage in stages}


def test_a_stage_is_as_long_as_the_answer_says(service) -> None:
    answers = []
    moved = _moved(
        service.client,
        *[lambda: answers.append(service.client.post("/v1/search", json={"image_base64": _GREEN}).json)] * 3,
    )
    for stage in ("decode", "embed", "classify", "search"):
        wanted_s = sum(answer["timing_ms"][stage] for answer in answers) / 1000
        assert moved[f"parecido_stage_seconds_sum{{stage={stage}}}"] == pytest.approx(wanted_s, abs=2e-6)


def test_similar_items_are_timed_too(service) -> None:
    moved = _moved(service.client, lambda: service.client.get("/v1/items/mug-1/similar"))
    assert _named(moved, "parecido_stage_seconds_count") == {"stage=classify": 1, "stage=search": 1}


@pytest.mark.parametrize("path", ["/v1/search", "/v1/classify"])
@pytest.mark.parametrize("body", [{"image_base64": _GREEN}, {"embedding": [1] * 8}])
@pytest.mark.parametrize(("best", "uncertain"), [(0.5, 1), (0.97, 1), (0.985, 0), (0.9995, 0)])
def test_the_confidence_of_a_classified_query(classified_as, path, body, best, uncertain) -> None:
    client = classified_as([(1 - best) / 4, best, (1 - best) * 3 / 4])
    moved = _moved(client, _post(client, path, **body))
    assert moved["parecido_confidence_sum{}"] == pytest.approx(best, abs=1e-5)
    assert moved["parecido_confidence_count{}"] == 1
    bounds = sorted(float(key[3:]) for key in _named(moved, "parecido_confidence_bucket"))
    assert bounds[0] == min(bound for bound in (0.5, 0.6, 0.98, 0.99, float("inf")) if bound >= best - 1e-6)
    assert moved.get("parecido_uncertain_queries_total{}", 0) == uncertain


@pytest.mark.parametrize("path", ["/v1/search", "/v1/classify"])
@pytest.mark.parametrize(("colour", "verdict"), [((30, 30, 240), "known"), ((128, 128, 128), "unknown")])
def test_a_query_that_was_judged_is_counted_by_the_verdict(judging, path, colour, verdict) -> None:
    client = _Service(judging()).client
    image = base64.b64encode(picture(colour, file_format="PNG")).decode()
    moved = _moved(client, *[_post(client, path, image_base64=image)] * 2)
    assert _named(moved, "parecido_judged_queries_total") == {f"verdict={verdict}": 2}


def test_an_unknown_query_counts_also_where_it_is_rejected(judging) -> None:
    client = _Service(judging()).client
    image = base64.b64encode(picture((128, 128, 128), file_format="PNG")).decode()
    moved = _moved(client, *(_post(client, image_base64=image, on_unknown=way) for way in ("empty", "reject")))
    assert _named(moved, "parecido_judged_queries_total") == {"verdict=unknown": 2}
    assert moved["parecido_confidence_count{}"] == 2
    assert moved["parecido_requests_total{method=POST,route=/v1/search,status=422}"] == 1


def test_what_was_not_judged_counts_for_neither(judging, service) -> None:
    client = _Service(judging()).client
    item, named = _post(client, item_id="mug-1"), _post(client, embedding=[1] * 8, category="mugs")
    assert not _named(_moved(client, item, named), "parecido_judged_queries_total")
    assert not _named(_moved(service.client, _post(service.client, embedding=[1] * 8)), "parecido_judged_queries_total")
    counts = _named(_scrape(service.client), "parecido_judged_queries_total")
    assert counts == {"verdict=known": 0, "verdict=unknown": 0}


def test_an_items_category_is_known_so_it_says_nothing_of_the_classifier(classified_as) -> None:
    client = classified_as([0.4, 0.3, 0.3])
    moved = _moved(client, _post(client, item_id="mug-1"), lambda: client.get("/v1/items/mug-1/similar"))
    assert not [key for key in moved if "confidence" in key or "uncertain" in key]


# Snapshots


def test_before_anything_is_published_it_says_not_ready_and_no_refusal() -> None:
    service = _Service()
    for polls in (0, 3):
        service.publish(None, polls)
        assert service.client.get("/readyz").status_code == 503
        scraped = _scrape(service.client)
        assert scraped["parecido_ready{}"] == 0
        assert scraped["parecido_snapshot_refused{}"] == 0
        assert scraped["parecido_snapshot_refusals_total{}"] == 0
        assert not [key for key in scraped if key.startswith(("parecido_snapshot_info", "parecido_partition_items"))]
        assert not _named(scraped, "parecido_snapshot_created_timestamp_seconds")
    assert scraped["parecido_requests_total{method=GET,route=/readyz,status=503}"] == 2


def test_what_is_served(service, catalogue) -> None:
    scraped = _scrape(service.client)
    assert scraped["parecido_ready{}"] == 1
    assert scraped["parecido_snapshot_refused{}"] == 0
    assert scraped["parecido_snapshot_swaps_total{}"] == 0
    assert _named(scraped, "parecido_snapshot_info") == {"snapshot_id=20260101T000000-tiny": 1}
    created_s = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
    assert _named(scraped, "parecido_snapshot_created_timestamp_seconds") == {"": created_s}
    assert _named(scraped, "parecido_partition_items") == {
        f"category={category}": 5 for category in (catalogue.hats, catalogue.mugs, catalogue.shoes)
    }


def test_after_a_swap_only_the_new_snapshot_is_shown() -> None:
    old = _SmallEngine("old", items={"mugs": 5, "hats": 2})
    new = _SmallEngine("new", "2026-02-03T05:06:07+01:00", {"mugs": 7, "bowls": 1})
    service = _Service(old, new)
    service.publish("new", polls=3)
    scraped = _scrape(service.client)
    assert scraped["parecido_snapshot_swaps_total{}"] == 1
    assert _named(scraped, "parecido_snapshot_info") == {"snapshot_id=new": 1}
    created_s = datetime(2026, 2, 3, 4, 6, 7, tzinfo=UTC).timestamp()
    assert _named(scraped, "parecido_snapshot_created_timestamp_seconds") == {"": created_s}
    assert _named(scraped, "parecido_partition_items") == {"category=mugs": 7, "category=bowls": 1}
    service.publish("old")
    assert _scrape(service.client)["parecido_snapshot_swaps_total{}"] == 2


def test_a_refused_snapshot_is_told_until_a_good_one_comes() -> None:
    service = _Service(_SmallEngine("a"), _SmallEngine("c"), b=SnapshotError("damaged"))
    for snapshot_id, refused, refusals, served in (
        ("b", 1, 1, "a"),
        ("a", 0, 1, "a"),
        ("b", 1, 2, "a"),
        ("c", 0, 2, "c"),
        (None, 1, 3, "c"),
        ("c", 0, 3, "c"),
    ):
        service.publish(snapshot_id, polls=3)
        scraped = _scrape(service.client)
        assert scraped["parecido_snapshot_refused{}"] == refused
        assert scraped["parecido_snapshot_refusals_total{}"] == refusals
        assert _named(scraped, "parecido_snapshot_info") == {f"snapshot_id={served}": 1}
        assert scraped["parecido_ready{}"] == 1


def test_a_snapshot_refused_at_the_start_is_told() -> None:
    service = _Service(b=SnapshotError("damaged"))
    service.publish("b", polls=3)
    scraped = _scrape(service.client)
    assert (scraped["parecido_ready{}"], scraped["parecido_snapshot_refused{}"]) == (0, 1)
    assert scraped["parecido_snapshot_refusals_total{}"] == 1


def test_a_category_may_be_called_anything() -> None:
    names = ['"', "\\", "\\n", "a\nb", 'x="y"', "{}", ",", "#", " ", "a,b}= 1", "niños 🎩", "\r", "\u2028", '\\\\"']
    client = _Service(_SmallEngine("a", items={name: number for number, name in enumerate(names)})).client
    expected = {f"category={name}": number for number, name in enumerate(names)}
    assert _named(_scrape(client), "parecido_partition_items") == expected


def test_two_apps_share_nothing(engine) -> None:
    one, other = _Service(engine).client, _Service(_SmallEngine("other")).client
    before = _scrape(other)
    moved = _moved(one, *[_post(one, image_base64=_GREEN)] * 2)
    assert moved["parecido_requests_total{method=POST,route=/v1/search,status=200}"] == 2
    after = _scrape(other)
    assert {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)} <= {
        key for key in after if "route=/metrics" in key or key == "parecido_watch_age_seconds{}"
    }
    assert _named(after, "parecido_snapshot_info") == {"snapshot_id=other": 1}


def test_the_watch_tells_that_it_is_alive_and_what_it_does(tmp_path: Path) -> None:
    metrics = Metrics(0.98, tmp_path)

    def told() -> tuple[float, float]:
        states = WorkerStates(tmp_path).all()
        values = {family.name: family.samples[0].value for family in snapshot_gauges(states) if family.samples}
        return values["parecido_snapshot_opening"], values["parecido_watch_age_seconds"]

    metrics.polled(is_opening=False)
    assert told()[0] == 0
    assert 0 <= told()[1] < 60
    metrics.polled(is_opening=True)
    assert told()[0] == 1
    metrics.polled(is_opening=False)
    assert told()[0] == 0
    WorkerStates(tmp_path).put(WorkerState(polled_s=time.time() - 500))  # one that hangs
    assert told()[1] >= 500
