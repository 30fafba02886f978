"""The figures against sums done by hand, their formulas against them, and docs/explanation/capacity.md against both."""

import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest

from indexer.capacity.demand import Demand
from indexer.capacity.measured import MEASURED
from indexer.capacity.plan import plan
from shared.errors import SettingsError
from shared.index.index_kind import IndexKind
from tests.support.builders.shop import run

_ROOT = Path(__file__).parents[3]
_PAGE = (_ROOT / "docs" / "explanation" / "capacity.md").read_text(encoding="utf-8")


def _rows(header: str, after: str = "") -> list[list[str]]:
    """The cells of a table, without backticks; the first with that header after some heading."""
    text = _PAGE[_PAGE.index(after) :]
    lines = text[text.index(header) :].splitlines()[2:]
    rows = []
    for line in lines:
        if not line.startswith("|"):
            break
        rows.append([cell.strip().replace("`", "") for cell in line.strip("|").split("|")])
    return rows


def test_a_hundred_million_by_hand() -> None:
    result = plan(Demand(100_000_000, copies=0, cores=10, memory_gb_each=100, hours=10, queries_per_s=1000))
    one = {line.name: line.value for line in result.one_machine}
    # 144 photos a second on two cores are 720 on ten.
    assert one["embedding_hours"] == pytest.approx(100_000_000 / 720 / 3600)
    assert one["cache_disk_gb"] == pytest.approx(100_000_000 * 5120 * 1.103 / 1e9)
    assert one["memory_gb"] == pytest.approx(1.2 + 265 + 0.129 + 577.2)
    assert one["machines"] == math.ceil(1000 / 44 / 10) == 3
    cluster = {line.name: line.value for line in result.cluster}
    assert cluster["embedding_nodes"] == math.ceil(100_000_000 / 72 / 36_000 / 10) == 4
    assert cluster["insert_hours"] == pytest.approx(100_000_000 / 3700 / 3600)
    assert cluster["milvus_nodes"] == math.ceil(524.8 / 70) == 8


def test_copies_cost_what_was_measured_with_two() -> None:
    [hours] = [line.value for line in plan(Demand(51_900 * 3600, copies=2, cores=2)).one_machine][:1]
    assert hours == pytest.approx(1000)


def test_graph_bytes_are_those_of_the_shipped_index_kind() -> None:
    assert MEASURED["graph_bytes"].value == IndexKind("P256,HNSW16,SQfp16", 1280).bytes_per_vector
    assert MEASURED["vector_bytes"].value == 4 * 1280


def test_a_small_catalogue_meets_no_limit_and_a_huge_one_meets_all() -> None:
    assert plan(Demand(1_000_000)).limits == ()
    limits = plan(Demand(10_000_000_000)).limits
    assert [limit.partition(":")[0] for limit in limits] == ["one machine", "one machine", "cluster", "cluster"]
    assert "at least 208 catalogues" in limits[2]


def test_each_docstring_is_the_formula_of_its_function() -> None:
    demand = Demand(123_456_789, copies=3, cores=6, memory_gb_each=90, hours=7, queries_per_s=500)
    result = plan(demand)
    for lines in (result.one_machine, result.cluster):
        names = {**asdict(demand), **{name: measured.value for name, measured in MEASURED.items()}, "ceil": math.ceil}
        for line in lines:
            names[line.name] = eval(line.formula, {"__builtins__": {}}, names)
            assert names[line.name] == pytest.approx(line.value), line.name


def test_what_prints_a_figure_exists() -> None:
    for measured in MEASURED.values():
        if measured.by.startswith("benchmarks."):
            assert (_ROOT / f"{measured.by.replace('.', '/')}.py").is_file(), measured.by


@pytest.mark.parametrize(
    ("name", "value"), [("images", 0), ("cores", 0), ("hours", 0.0), ("memory_gb_each", math.nan), ("copies", 65)]
)
def test_an_impossible_demand_is_rejected(name: str, value: float) -> None:
    with pytest.raises(SettingsError, match=f"{name} is "):
        Demand(**{"images": 1, name: value})


def test_the_command_prints_figures_and_formulas(tmp_path: Path) -> None:
    done = run("plan", "--items", 50_000_000, "--images", 2, "--data", tmp_path)
    assert done.status == 0
    assert done.json["demand"]["images"] == 100_000_000
    assert done.json["cluster"]["milvus_nodes"]["formula"] in done.err
    assert json.dumps(done.json["one_machine"]["disk_gb"]["value"]) == json.dumps(
        {line.name: line.value for line in plan(Demand(100_000_000)).one_machine}["disk_gb"]
    )
    assert run("plan", "--items", 0).status == 2


def test_the_page_has_the_measured_figures() -> None:
    expected = [
        [
            name,
            f"{measured.value:.4g}",
            measured.unit or "–",
            measured.what,
            f"python -m {measured.by}" if measured.by.startswith("benchmarks.") else measured.by,
        ]
        for name, measured in MEASURED.items()
    ]
    assert _rows("| figure | value |") == expected


@pytest.mark.parametrize(("way", "heading"), [("one_machine", "## One machine"), ("cluster", "## Ray and Milvus")])
def test_the_page_has_the_formulas(way: str, heading: str) -> None:
    lines = getattr(plan(Demand(1)), way)
    assert _rows("| result | unit |", heading) == [
        [line.name, line.unit or "–", line.formula, line.what] for line in lines
    ]


def test_the_page_has_the_results() -> None:
    plans = [plan(Demand(images)) for images in (10**6, 10**8, 10**10)]
    expected = [
        [f"{title}: {lines[0].name}", *(line.shown() for line in lines)]
        for title, way in (("one machine", "one_machine"), ("cluster", "cluster"))
        for lines in zip(*(getattr(result, way) for result in plans), strict=True)
    ]
    assert _rows("| result | 1,000,000 |") == expected


def test_the_benchmarks_page_has_the_same_figures() -> None:
    benchmarks = (_ROOT / "docs" / "reference" / "benchmarks.md").read_text(encoding="utf-8")
    for text in (
        "originals alone | 144 photos/s",
        "(three forward passes) | 51.9 photos/s",
        "| 16 | 88 |",
        "129 MB per worker",
    ):
        assert text in benchmarks
    assert "53 MB for 20,000 more" in benchmarks
    assert MEASURED["item_bytes"].value == 53e6 / 20_000
