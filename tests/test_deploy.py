"""Dashboard, scrape example and alerts against what `/metrics` exposes; by promtool too, where it is installed."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any, NoReturn

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from search_service.app import create_app
from search_service.observability.metrics import Metrics
from search_service.settings import ServiceSettings
from search_service.snapshots.watcher import SnapshotWatcher
from shared.manifest import CategoryEntry
from tests.support.fakes import fake_manifest

_ROOT = Path(__file__).parents[1]
_PROMETHEUS = _ROOT / "deploy" / "prometheus"
_DASHBOARD: dict[str, Any] = json.loads((_ROOT / "deploy" / "grafana" / "parecido.json").read_text(encoding="utf-8"))
_RULES: list[dict[str, Any]] = yaml.safe_load((_PROMETHEUS / "alerts.yml").read_text(encoding="utf-8"))["groups"][0][
    "rules"
]
_PANELS: list[dict[str, Any]] = _DASHBOARD["panels"]
_BY_PROMETHEUS = {"job", "instance"}
_SELECTOR = re.compile(r"\b(parecido_\w+)(?:\{([^}]*)\})?")
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|on) \(([^)]*)\)")
# What Grafana puts in their place.
_VARIABLES = {"$job": ".+", "$instance": ".+", "$__rate_interval": "1m"}


def _exposed() -> Iterator[tuple[str, dict[str, str]]]:
    """The name and labels of every sample that a service exposes that has answered some requests."""

    def never(*_: object) -> NoReturn:
        raise AssertionError

    metrics = Metrics(0.98)
    metrics.swapped(
        fake_manifest(snapshot_id="20260101T000000-abcdef", categories=(CategoryEntry("mugs", 5, 5, 5, "", 1.0),))
    )
    client = create_app(SnapshotWatcher(never, never), ServiceSettings(), metrics).test_client()
    for path in ("/nowhere", "/metrics"):
        client.get(path)
    assert client.post("/v1/search", json={"item_id": "mug-1"}).status_code == 503
    metrics.request("/v1/search", "POST", 505, 0.0)  # as the event loop counts what it rejects
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            yield sample.name, sample.labels


@pytest.fixture(scope="module")
def exposed() -> dict[str, list[dict[str, str]]]:
    """Labels of the samples, by their name."""
    found: dict[str, list[dict[str, str]]] = {}
    for name, labels in _exposed():
        found.setdefault(name, []).append(labels)
    return found


def _on_the_dashboard() -> dict[str, str]:
    """Its expressions, by panel and target."""
    panels = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in _PANELS
        for target in panel.get("targets", ())
    }
    annotations = {one["name"]: one["expr"] for one in _DASHBOARD["annotations"]["list"] if "expr" in one}
    return panels | annotations


_EXPRESSIONS = _on_the_dashboard() | {rule["alert"]: rule["expr"] for rule in _RULES}


@pytest.mark.parametrize("name", _EXPRESSIONS)
def test_every_metric_label_and_value_that_is_asked_for_is_exposed(name, exposed) -> None:
    expression = _EXPRESSIONS[name]
    known = _BY_PROMETHEUS.copy()
    selectors = _SELECTOR.findall(expression)
    assert selectors or expression.startswith("up{")
    for metric, matchers in selectors:
        assert metric in exposed
        known |= {label for labels in exposed[metric] for label in labels}
        for label, operator, value in _MATCHER.findall(matchers):
            if label in _BY_PROMETHEUS:
                continue
            values = {labels[label] for labels in exposed[metric]}
            is_pattern = operator in ("=~", "!~")
            assert any(re.fullmatch(value if is_pattern else re.escape(value), one) for one in values), (label, value)
    for labels in _GROUPING.findall(expression):
        assert set(labels.split(", ")) <= known


def test_every_metric_is_on_the_dashboard(exposed) -> None:
    shown = {metric for name in _on_the_dashboard() for metric, _ in _SELECTOR.findall(_EXPRESSIONS[name])}
    families = {re.sub("_(bucket|count|sum)$", "", name) for name in exposed}
    assert {re.sub("_(bucket|count|sum)$", "", name) for name in shown} == families


def test_every_panel_asks_the_prometheus_job_and_instance_that_are_chosen() -> None:
    variables = {one["name"]: one for one in _DASHBOARD["templating"]["list"]}
    assert list(variables) == ["datasource", "job", "instance"]
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    targets = [target for panel in _PANELS for target in panel.get("targets", ())]
    for asks in (*(panel for panel in _PANELS if panel["type"] != "row"), *targets, variables["job"]):
        assert asks["datasource"] == chosen
    for name, expression in _on_the_dashboard().items():
        for selector in re.findall(r"\b(?:parecido_\w+|up)\{[^}]*\}|\bparecido_\w+", expression):
            assert 'job=~"$job", instance=~"$instance"' in selector, name


def test_panels_have_ids_of_their_own_a_title_and_say_what_they_show() -> None:
    assert len({panel["id"] for panel in _PANELS}) == len(_PANELS)
    titles = [panel["title"] for panel in _PANELS if panel["type"] != "row"]
    assert len(set(titles)) == len(titles)
    assert all(panel["description"] for panel in _PANELS if panel["type"] != "row")


def test_no_panel_lies_on_another_or_outside() -> None:
    def overlap(a: dict[str, int], b: dict[str, int]) -> bool:
        return all(a[at] < b[at] + b[size] and b[at] < a[at] + a[size] for at, size in (("x", "w"), ("y", "h")))

    places = {panel["title"] + panel["type"]: panel["gridPos"] for panel in _PANELS}
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= 24 for place in places.values())
    assert [pair for pair in combinations(places, 2) if overlap(places[pair[0]], places[pair[1]])] == []


def test_every_alert_says_how_urgent_it_is_what_it_is_and_what_to_do() -> None:
    assert len({rule["alert"] for rule in _RULES}) == len(_RULES)
    for rule in _RULES:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["for"]
        assert len(rule["annotations"]["description"]) > len(rule["annotations"]["summary"]) > 0


def test_the_docs_list_the_alerts_with_their_urgency() -> None:
    page = (_ROOT / "docs" / "how-to" / "monitoring.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(Parecido\w+)` \|.*\| (\w+) \|$", page, re.MULTILINE)
    assert sorted(rows) == sorted((rule["alert"], rule["labels"]["severity"]) for rule in _RULES)


def test_the_example_scrapes_the_default_port_under_the_alerts_name() -> None:
    config = yaml.safe_load((_PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8"))
    [scrape] = config["scrape_configs"]
    [targets] = scrape["static_configs"]
    settings = ServiceSettings()
    assert targets["targets"] == [f"{settings.host}:{settings.port}"]
    assert f'up{{job="{scrape["job_name"]}"}}' in _EXPRESSIONS["ParecidoDown"]
    assert all((_PROMETHEUS / name).exists() for name in config["rule_files"])


# By promtool


def _promtool(*arguments: str | Path) -> str:
    if (promtool := shutil.which("promtool")) is None:
        pytest.skip("NO ALERT AND NO PANEL WAS PARSED: there is no promtool here (Debian: apt-get install prometheus)")
    done = subprocess.run([promtool, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_prometheus_takes_the_example_and_the_alerts() -> None:
    assert f"{len(_RULES)} rules found" in _promtool("check", "config", _PROMETHEUS / "prometheus.yml")


def test_the_alerts_fire_when_they_should_and_not_before() -> None:
    _promtool("test", "rules", _ROOT / "tests" / "support" / "alerts_test.yml")


def test_every_expression_of_the_dashboard_parses(tmp_path) -> None:
    expressions = list(_on_the_dashboard().values())
    for name, value in _VARIABLES.items():
        expressions = [expression.replace(name, value) for expression in expressions]
    assert not [expression for expression in expressions if "$" in expression]
    rules = [{"record": f"panel:{n}", "expr": expression} for n, expression in enumerate(expressions)]
    file = tmp_path / "rules.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    _promtool("check", "rules", file)
