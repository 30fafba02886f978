"""The docs against the code: targets, commands, options, settings, routes, errors and links."""

import re
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest
from flask import Flask
from prometheus_client.parser import text_string_to_metric_families

from search_service.api.error_handlers import STATUS
from search_service.api.http_error import HTTP_CODES
from search_service.app import create_app
from search_service.observability.metrics import Metrics
from search_service.settings import ServiceSettings
from search_service.snapshots.watcher import SnapshotWatcher
from tests.support import reference_pages

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
API = (ROOT / "docs" / "reference" / "api.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def table(text: str, header: str) -> dict[str, list[str]]:
    """The rows of the table whose header begins so, by their first cell without backticks."""
    lines = text[text.index(header) :].splitlines()[2:]
    rows: dict[str, list[str]] = {}
    for line in lines:
        if not line.startswith("|"):
            break
        first, *rest = [cell.strip() for cell in line.strip("|").split("|")]
        rows[first.strip("`")] = rest
    return rows


@pytest.mark.parametrize("page", sorted(reference_pages.PAGES.glob("*.md")), ids=lambda page: page.name)
def test_generated_tables_are_those_of_the_declarations(page: Path) -> None:
    """Where this fails, run `python -m tests.support.reference_pages`."""
    text = page.read_text(encoding="utf-8")
    assert text == reference_pages.generated(text)


def test_everything_that_can_be_generated_is_in_a_page() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in reference_pages.PAGES.glob("*.md"))
    assert {name for _, name, _ in reference_pages.MARKED.findall(pages)} == reference_pages.GENERATED.keys()


def test_the_make_targets_are_complete() -> None:
    listed = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = {line.split()[1] for line in listed.splitlines()} - {"help"}
    paragraph = README[README.index("`make` alone lists the targets") :].split("Without make")[0]
    assert set(re.findall(r"`([a-z-]+)`", paragraph)) - {"make"} == targets
    assert set(re.findall(r"^make ([a-z-]+)", README, re.MULTILINE)) <= targets


def _app() -> Flask:
    def never(*_: object) -> NoReturn:
        raise AssertionError

    return create_app(SnapshotWatcher(never, never), ServiceSettings(), Metrics(0.98))


def test_the_routes_are_complete() -> None:
    app = _app()
    routes = {
        f"{method} {re.sub('<[^>]*item_id>', '<id>', rule.rule)}": rule.endpoint
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    assert table(API, "| route |").keys() == routes.keys()
    paths = app.test_client().get("/openapi.json").json["paths"]
    described = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    for_programs = {route for route, endpoint in routes.items() if not endpoint.startswith("pages.")}
    assert {route.replace("{item_id}", "<id>") for route in described} == for_programs


def test_the_metrics_are_complete_and_have_their_types() -> None:
    documented = table(API, "| metric |")
    families = {family.name: family for family in text_string_to_metric_families(Metrics(0.98).text().decode())}
    names = {name: f"{name}_total" if family.type == "counter" else name for name, family in families.items()}
    assert documented.keys() == set(names.values())
    for name, family in families.items():
        assert documented[names[name]][0].split(":")[0] == family.type
    guides = (ROOT / "docs" / "how-to" / name for name in ("monitoring.md", "load.md", "feedback.md"))
    text = "".join(guide.read_text(encoding="utf-8") for guide in guides)
    used = {re.sub("_(bucket|count|sum)$", "", name) for name in re.findall(r"\bparecido_[a-z_]+", text)}
    assert used <= documented.keys()


def test_the_error_codes_are_complete() -> None:
    rows = re.findall(r"^\| ([\d, ]+) \| ([^|]+) \|", API, re.MULTILINE)
    codes = [(error.code, status) for error, status in STATUS.items()]
    for code, status in [*codes, *((code, status) for status, code in HTTP_CODES.items())]:
        cells = [cell for statuses, cell in rows if str(status) in statuses]
        assert any(f"`{code}`" in cell for cell in cells), code


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, part in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", page.read_text(encoding="utf-8")):
        linked = page.parent / target if target else page
        assert linked.exists(), target
        if part and linked.suffix == ".md":
            assert part in _anchors(linked), (target, part)


def _anchors(page: Path) -> set[str]:
    """Of its headings, as GitHub makes them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_index_of_the_docs_leads_to_every_page() -> None:
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / one).resolve() for one in re.findall(r"\]\(([^):#]+)", index.read_text(encoding="utf-8"))}
    pages = {page for page in PAGES if page.is_relative_to(index.parent) and page.parent.name != "decisions"}
    assert pages - {index} <= linked


def test_decisions_have_a_number_each_and_are_all_listed() -> None:
    decisions = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    titles = [path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ") for path in decisions]
    assert [title[:4] for title in titles] == [path.name[:4] for path in decisions]
    assert len({title[:4] for title in titles}) == len(titles)
    architecture = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    for path, title in zip(decisions, titles, strict=True):
        assert f"- [{title}](../decisions/{path.name})" in architecture


def test_the_architecture_names_every_package() -> None:
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
    for package in ("indexer", "search_service", "shared"):
        for folder in (ROOT / package).glob("*/__init__.py"):
            assert f"`{package}/{folder.parent.name}/`" in text


def test_decisions_and_readme_are_short() -> None:
    for path in (ROOT / "docs" / "decisions").glob("*.md"):
        assert len(path.read_text(encoding="utf-8").splitlines()) < 40, path.name
    assert len(README.splitlines()) < 130


def test_decisions_that_are_named_exist() -> None:
    for package in ("indexer", "search_service", "shared", "benchmarks", "tests"):
        for source in (ROOT / package).rglob("*.py"):
            for name in re.findall(r"docs/decisions/([\w-]+\.md)", source.read_text(encoding="utf-8")):
                assert (ROOT / "docs" / "decisions" / name).exists(), (source, name)


_MEASURED = re.compile(r"\b0\.[1-9]\d\d\b|\b\d+\.\d+ (?:%|ms\b|times\b|points\b)|\b[\d,.]+ (?:photos|images|queries)/s")


def test_no_measured_figure_stands_on_two_pages() -> None:
    pages: dict[str, set[str]] = {}
    for page in PAGES:
        for figure in _MEASURED.findall(page.read_text(encoding="utf-8")):
            pages.setdefault(figure, set()).add(page.name)
    assert not {figure: names for figure, names in pages.items() if len(names) > 1}


def test_the_tutorials_have_the_same_commands() -> None:
    english, portuguese = (
        re.findall(
            r"^```\n(.*?)^```", (ROOT / "docs/tutorial" / name).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
        )
        for name in ("first-search.md", "primeira-busca.md")
    )
    assert english == portuguese
    assert len(english) >= 6


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_placeholder_is_left(page: Path) -> None:
    assert not re.search(r"^(FIGURES|TODO|TBD)", page.read_text(encoding="utf-8"), re.MULTILINE)


def test_benchmarks_that_are_named_exist() -> None:
    sources = [*PAGES, *(path for package in ("indexer", "shared") for path in (ROOT / package).rglob("*.py"))]
    for source in sources:
        for name in re.findall(
            r"benchmarks[./]([a-z_]+(?:[./][a-z_]+)*?)(?:\.py)?\b(?![./][a-z])", source.read_text(encoding="utf-8")
        ):
            path = ROOT / "benchmarks" / name.replace(".", "/")
            assert path.with_suffix(".py").exists() or path.is_dir() or name in ("results", "md"), (source.name, name)
