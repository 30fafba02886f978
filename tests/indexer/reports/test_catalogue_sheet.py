from pathlib import Path

from PIL import Image

from indexer.data_quality.near_duplicates import Duplicate, Group, NearDuplicates
from indexer.data_quality.report import CatalogueReport
from indexer.data_quality.suspect_labels import Suspect, SuspectLabels
from indexer.reports.catalogue_sheet import draw_catalogue_sheet
from tests.support.fakes import picture


def _group(*categories: str, cosine: float = 0.97) -> Group:
    return Group(
        tuple(
            Duplicate(f"item {place}", category, f"{place}.png", "item 0", "0.png", cosine, 1 - cosine, cosine == 1)
            for place, category in enumerate(categories)
        )
    )


def _suspect(number: int, item_id: str = "x") -> Suspect:
    return Suspect(item_id, "hat", "shoe", f"{number}.png", 0.5 - number / 100, 10, 1, 9, 0.1, 0.9)


def _report(groups: list[Group], suspects: list[Suspect]) -> CatalogueReport:
    return CatalogueReport(
        NearDuplicates(0.25, True, 9, tuple(groups)), SuspectLabels(0.3, True, 9, (), tuple(suspects))
    )


def test_groups_come_first_a_row_each(tmp_path: Path, captions: list[str]) -> None:
    (tmp_path / "0.png").write_bytes(picture("red", file_format="PNG"))
    report = _report([_group("hat", "shoe", cosine=1), _group("hat", "hat")], [_suspect(0), _suspect(1, "y" * 30)])
    out = tmp_path / "sheet.png"
    assert draw_catalogue_sheet(report, tmp_path, out) == out
    with Image.open(out) as sheet:
        assert sheet.height > sheet.width / 2  # three rows
    assert captions == [
        "group 1 · same file\nhat\nitem 0",
        "group 1 · same file\nshoe\nitem 1",
        "group 2 · 0.970\nhat\nitem 0",
        "group 2 · 0.970\nhat\nitem 1",
        "doubt 0.50\nhat → shoe?\nx",
        f"doubt 0.49\nhat → shoe?\n…{'y' * 23}",
    ]


def test_a_sheet_has_an_end(tmp_path: Path, captions: list[str]) -> None:
    report = _report([_group(*"h" * 9)] * 12, [_suspect(number) for number in range(40)])
    draw_catalogue_sheet(report, tmp_path, tmp_path / "sheet.jpg")
    assert len(captions) == 10 * 6 + 30
    assert captions[5] == "group 1 · 0.970\nh\nitem 5\nand 3 more"


def test_nothing_found_is_nothing_drawn(tmp_path: Path) -> None:
    assert draw_catalogue_sheet(_report([], []), tmp_path, tmp_path / "sheet.png") is None
    assert not (tmp_path / "sheet.png").exists()
