"""Every table that the command line shows fits a terminal of 80 columns, with names as long as real ones."""

import contextlib
import io
import json
from collections.abc import Callable

import pytest

from indexer import __main__ as command_line
from tests.support.builders.shop import Shop

_KINDS = {"checks": "long-sleeved shirts", "discs": "t-shirts", "stripes": "trousers"}
_ID = "6075b4a5-5b1a-4ce0-aea0-9dbfbca7c35c"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Run a command on a terminal of 80 columns; every line of its output fits."""
    monkeypatch.setenv("TERM", "dumb")  # no moving bars, which would be drawn over each other

    def call(*arguments: object) -> str:
        terminal = _Terminal()
        with contextlib.redirect_stderr(terminal):
            assert command_line.main([*map(str, arguments)]) == 0, terminal.getvalue()
        text = terminal.getvalue()
        for line in text.splitlines():
            may_be_longer = line.startswith(
                ("evaluation report:", "to look at:", "written:", "the classifier", "entries left out:")
            )
            assert may_be_longer or len(line) <= 80, line  # sentences and paths are the terminal's to fold
        return text

    return call


@pytest.fixture
def shop(quick_shop: Shop) -> Shop:
    """Has long names, a picture in two categories, and two snapshots."""
    rows = [
        {**row, "item_id": f"{_ID}/{row['item_id']}", "category": _KINDS[row["category"]]} for row in quick_shop.rows()
    ]
    quick_shop.write([*rows, {**rows[0], "item_id": f"{_ID}/again", "category": "trousers"}])
    assert quick_shop.build("--report", "on").status == 0
    return quick_shop


def row_of(shown: str, first: str) -> list[str]:
    """The cells of the only row that begins so."""
    [line] = [line for line in shown.splitlines() if line.startswith(first)]
    return line.split()


def test_snapshots_are_one_per_line(shop: Shop, shown: Callable[..., str]) -> None:
    listed = shown("snapshots", "--data", shop.data.root)
    earlier, current = shop.data.ids()
    assert row_of(listed, earlier)[1:4] == ["published", "36", "36"]
    assert row_of(listed, current)[1:4] == ["current", "37", "37"]


def test_tables_of_build_dry_run_and_diff(shop: Shop, shown: Callable[..., str]) -> None:
    shop.change(f"{_ID}/checks 1", price=7)
    trial = shown("build", "--data", shop.data.root, "--dry-run")
    assert row_of(trial, "other metadata")[2:4] == ["1", f"{_ID}/checks"]
    built = shown("build", "--data", shop.data.root)
    assert row_of(built, "t-shirts")[1:] == ["12", "12", "12", "exact", "1.0000"]
    assert row_of(built, "items") == ["items", "37"]
    output = shown("diff", *shop.data.ids()[-2:], "--data", shop.data.root)
    assert row_of(output, "unchanged") == ["unchanged", "36"]
    assert row_of(output, "backbone") == ["backbone", "efficientnet_lite0", "efficientnet_lite0"]


def test_tables_of_the_catalogue_report(shop: Shop, shown: Callable[..., str]) -> None:
    output = shown("report", "--data", shop.data.root)
    assert "group  cosine" in output
    assert "/again" in output  # long ids are folded
    assert "same file  trousers" in output


def test_tables_of_verify_and_evaluate(shop: Shop, shown: Callable[..., str]) -> None:
    assert row_of(shown("verify", "--data", shop.data.root), "t-shirts") == ["t-shirts", "1.0000"]
    queries = shop.root / "queries.jsonl"
    rows = [{**row, "image": str(shop.root / str(row["image"]))} for row in shop.rows()]
    queries.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    judged = shown("evaluate", "--queries", queries, "--data", shop.data.root)
    assert row_of(judged, "t-shirts")[1] == "12"
    assert "confidence above   up to  queries" in judged
    assert row_of(judged, "unfiltered_category_precision_at_10")
