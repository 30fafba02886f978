"""The page: complete, offline, escaped; its JSON; what it is compared with."""

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from indexer.console.progress import SilentReporter
from indexer.data_quality.report import examine
from indexer.evaluation.evaluate import predict_queries
from indexer.evaluation.robustness import EditFigures
from indexer.reports.evaluation_report import HEADLINES, EvaluationReport, read_previous
from shared.manifest import CategoryEntry
from shared.snapshot.snapshot import Snapshot

_VOID = {"meta", "img", "br", "link"}


class _Page(HTMLParser):
    """What a page is made of; checks that elements are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.headings: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.unnamed: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        assert self._open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        self.tags.append(tag)
        self.addresses += [str(given[name]) for name in ("src", "href", "xlink:href") if name in given]
        if (tag == "img" and not given.get("alt")) or (given.get("role") == "img" and not given.get("aria-label")):
            self.unnamed.append(tag)
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if tag not in _VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == "h2":
            self.headings.append(data)


@pytest.fixture
def report(snapshot: Snapshot, queries: Path) -> EvaluationReport:
    """Of four photos, one of a category that is to be escaped."""
    (queries / "hats").rename(queries / "<i>hats")
    entries = tuple(CategoryEntry(name, 2, 3, 3, "IndexFlatIP", 1.0) for name in ("cold", "warm"))
    described = replace(snapshot, manifest=replace(snapshot.manifest, categories=entries))
    judged = predict_queries(described, queries, threads=1, reporter=SilentReporter())
    catalogue = examine(described.items, described.partitions)
    changes = (EditFigures("mirrored", 40, 0.9, (0.77, 0.96)),)
    return EvaluationReport.of(judged, "photos", catalogue, None, changes)


def test_the_page_is_complete_and_needs_nothing_else(report: EvaluationReport, tmp_path: Path) -> None:
    page = report.write(tmp_path / "new/report").read_text(encoding="utf-8")
    read = _Page(page)
    assert read.headings == [
        "Summary",
        "Accuracy by category",
        "Confidence and coverage",
        "The worst mistakes",
        "Edited photos",
        "Map of the catalogue",
        "Near-duplicates",
        "Partitions",
    ]
    assert "script" not in read.tags
    assert [one for one in read.addresses if not one.startswith(("data:image/", "#"))] == ["evaluation.json"]
    groups = report.catalogue.near_duplicates.groups
    assert groups
    # Two mistakes, each with the two items of the predicted category.
    assert read.tags.count("img") == 2 * (1 + 2) + sum(len(group.items) for group in groups)
    assert read.tags.count("svg") == 6
    assert read.unnamed == []
    assert "<i>" not in page
    assert "&lt;i&gt;hats" in page
    for name in HEADLINES:
        assert name in page


def test_a_photo_that_is_gone_is_told(report: EvaluationReport, queries: Path) -> None:
    (queries / "<i>hats/red.png").unlink()
    page = report.page()
    assert page.count("image not found</span>") == 1
    assert _Page(page).unnamed == []


def test_the_json_has_every_figure(report: EvaluationReport, tmp_path: Path) -> None:
    report.write(tmp_path / "report")
    told = json.loads((tmp_path / "report/evaluation.json").read_text(encoding="utf-8"))
    assert told == json.loads(json.dumps(report.as_dict()))
    assert told["category_accuracy"] == 2 / 4
    assert told["intervals"]["category_accuracy"] == pytest.approx([0.15, 0.85], abs=1e-4)
    assert told["confusions"]["counts"] == [[0, 1], [1, 0], [1, 1]]
    assert told["before"] is None


def test_a_later_report_is_compared_with_the_one_before(report: EvaluationReport, tmp_path: Path) -> None:
    report.write(tmp_path)
    assert read_previous(tmp_path, report.evaluation.snapshot_id) is None
    before = read_previous(tmp_path, "later")
    assert before is not None
    assert before["category_accuracy"] == 0.5
    later = replace(report.evaluation, snapshot_id="later", category_accuracy=0.75, expected_calibration_error=0.25)
    compared = replace(report, evaluation=later, previous=before)
    page = compared.page()
    assert "Comparison with the previous snapshot" in _Page(page).headings
    assert "+0.2500 <span" in page  # within the interval
    # Written again in its place, it still tells the one before.
    compared.write(tmp_path)
    assert read_previous(tmp_path, "later") == before


@pytest.mark.parametrize("content", ["", "[]", '{"snapshot_id": "other"}', "{}"])
def test_what_is_no_report_is_not_compared_with(tmp_path: Path, content: str) -> None:
    assert read_previous(tmp_path, "one") is None
    (tmp_path / "evaluation.json").write_text(content)
    assert read_previous(tmp_path, "one") is None
