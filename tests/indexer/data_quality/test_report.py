"""What a build writes about its catalogue, and what `python -m indexer report` makes of it."""

import json
import shutil
from contextlib import closing

import pytest

from indexer.console.progress import TerminalReporter
from indexer.data_quality import report as module
from indexer.data_quality.near_duplicates import NearDuplicates
from indexer.data_quality.report import CatalogueReport, examine, read_report, report_of, show
from indexer.data_quality.suspect_labels import SuspectLabels
from shared.snapshot.snapshot import Snapshot
from tests.support.builders.partitions import clusters, make_originals
from tests.support.builders.shop import Shop


@pytest.fixture
def shop(quick_shop: Shop) -> Shop:
    """Has a picture under three ids, one of them in another category."""
    rows = quick_shop.rows()
    twice = [{**rows[0], "item_id": "again"}, {**rows[0], "item_id": "elsewhere", "category": "discs"}]
    quick_shop.write([*rows, *twice])
    assert quick_shop.build().status == 0
    return quick_shop


def _report(shop: Shop) -> CatalogueReport:
    report = read_report(shop.current().report)
    assert report is not None
    return report


def _group_of(report: CatalogueReport, item_id: str) -> set[str]:
    [group] = [group for group in report.near_duplicates.groups if item_id in {one.item_id for one in group.items}]
    return {one.item_id for one in group.items}


def test_a_build_writes_what_it_found(shop: Shop) -> None:
    report = _report(shop)
    assert {"checks 0", "again", "elsewhere"} <= _group_of(report, "again")
    told = {one.item_id: one for one in report.near_duplicates.groups[0].items}
    assert told["again"].same_file
    assert told["elsewhere"].same_file
    assert report.near_duplicates.images == 38
    assert report.suspect_labels.unjudged == ()
    assert shop.run("verify").status == 0  # the files are among those that checksums guard
    assert "report/near_duplicates.json" in json.loads(shop.current().manifest.read_text())["checksums"]


def test_a_build_says_how_much_there_is_to_look_at(shop: Shop) -> None:
    assert f"python -m indexer report --data {shop.data.root}" in shop.build().err  # also where nothing has changed
    report = _report(shop)
    groups = len(report.near_duplicates.groups)
    assert f"to look at: {groups} group" in str(report.sentence())


def test_where_nothing_changes_nothing_is_looked_for(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "nearest_images", None)
    done = shop.build()
    assert done.status == 0
    assert "nothing has changed" in done.err


def test_the_command_tells_what_the_build_found(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "nearest_images", None)
    done = shop.run("report")
    assert done.status == 0
    report = _report(shop)
    assert done.json == {"snapshot_id": shop.data.current_id(), **json.loads(json.dumps(report.as_dict()))}
    for text in ("Near-duplicate items", "elsewhere", "same file", "Doubtful labels"):
        assert text in done.err


def test_by_another_ratio_it_is_looked_for_at_once(shop: Shop) -> None:
    strict = shop.run("report", "--max-ratio", 0.01).json["near_duplicates"]
    assert strict["max_ratio"] == 0.01
    assert {"again", "elsewhere"} <= {one["item_id"] for one in strict["groups"][0]["items"]}
    wide = shop.run("report", "--max-ratio", 0.99).json["near_duplicates"]
    assert sum(len(group["items"]) for group in wide["groups"]) > 30


def test_a_snapshot_without_a_report_is_looked_at_now(shop: Shop) -> None:
    """As those that earlier versions built."""
    written = _report(shop)
    paths = shop.current()
    with closing(Snapshot.open(paths, interpreters=1)) as snapshot:
        for name in ("near_duplicates.json", "suspect_labels.json"):
            (paths.report / name).unlink()
        assert read_report(paths.report) is None
        assert report_of(snapshot, shop.data) == written


def test_a_report_by_a_fixed_cosine_is_not_read(shop: Shop) -> None:
    """As an earlier version wrote it."""
    file = shop.current().report / "near_duplicates.json"
    file.write_text(json.dumps({"min_cosine": 0.95, "exact": True, "images": 38, "groups": []}))
    assert read_report(shop.current().report) is None


def test_top_is_how_much_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    rows, categories = clusters(60, 3)
    rows[1::2] = rows[::2]
    categories[1::2] = categories[::2]
    originals = make_originals(rows, categories)
    report = examine(originals.items, originals.partitions)
    assert len(report.near_duplicates.groups) == 30
    show(report, 2, TerminalReporter())
    shown = capsys.readouterr().err
    assert "28 more groups: --top shows more, --json all" in shown
    assert shown.count("1.0000") == 4


def test_what_was_not_judged_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    nothing = CatalogueReport(NearDuplicates(0.25, False, 3, ()), SuspectLabels(0.3, False, 0, ("a", "b"), ()))
    assert nothing.sentence() is None
    show(nothing, 20, TerminalReporter())
    shown = capsys.readouterr().err
    assert "labels of categories with too few images were not checked: a, b" in shown
    assert "the catalogue is large" in shown
    assert "no near-duplicate items and no doubtful labels" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--max-ratio", 1), "--max-ratio is 1.0; expected a number greater than 0 and less than 1"),
        (("--max-ratio", 0), "--max-ratio is 0.0; expected a number greater than 0 and less than 1"),
        (("--max-ratio", "nan"), "--max-ratio is nan; expected a number greater than 0 and less than 1"),
        (("--top", 0), "--top is 0; expected an integer of at least 1"),
        (("--sheet", "sheet.doc"), "--sheet is 'sheet.doc'; expected a file that ends in"),
    ],
)
def test_bad_options_are_refused(quick_shop: Shop, options: tuple[object, ...], message: str) -> None:
    done = quick_shop.run("report", *options)
    assert done.status == 2
    assert message in done.err


def test_without_a_snapshot_there_is_nothing_to_report(quick_shop: Shop) -> None:
    shutil.rmtree(quick_shop.data.root)
    done = quick_shop.run("report")
    assert done.status == 2
    assert "nothing is published" in done.err
