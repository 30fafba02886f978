"""A contact sheet of a catalogue report: one row per group of near-duplicates, then doubtful labels."""

from pathlib import Path

from indexer.data_quality.near_duplicates import Duplicate, Group
from indexer.data_quality.report import CatalogueReport
from indexer.data_quality.suspect_labels import Suspect
from indexer.reports.contact_sheet import draw_picture, new_sheet, save_sheet, thumbnail

_COLUMNS = 6
_GROUPS = 10
_SUSPECTS = 30
_MAX_ID_CHARACTERS = 24

_Tile = tuple[str, str]
"""An image's path and its caption."""


def draw_catalogue_sheet(report: CatalogueReport, image_root: Path, out: Path) -> Path | None:
    """Draw the first groups and the most doubtful labels.

    Args:
        report: the report.
        image_root: the directory that image paths are relative to.
        out: the picture to write, with a suffix that `check_suffix` accepts.

    Returns:
        `out`; None if the report is empty.
    """
    groups = report.near_duplicates.groups[:_GROUPS]
    rows = [_group_tiles(number, group) for number, group in enumerate(groups, start=1)]
    suspects = [_suspect_tile(suspect) for suspect in report.suspect_labels.suspects[:_SUSPECTS]]
    rows += [suspects[start : start + _COLUMNS] for start in range(0, len(suspects), _COLUMNS)]
    if not rows:
        return None
    figure = new_sheet(len(rows), _COLUMNS)
    grid = figure.add_gridspec(len(rows), _COLUMNS)
    for row, tiles in enumerate(rows):
        for column, (path, caption) in enumerate(tiles):
            highlighted = row < len(groups) and len(groups[row].categories) > 1
            picture = thumbnail(image_root / path)
            draw_picture(figure.add_subplot(grid[row, column]), picture, caption, highlighted)
    save_sheet(figure, out)
    return out


def _group_tiles(number: int, group: Group) -> list[_Tile]:
    tiles = [(item.image, f"group {number} · {_caption(item)}") for item in group.items[:_COLUMNS]]
    if (more := len(group.items) - _COLUMNS) > 0:
        path, caption = tiles[-1]
        tiles[-1] = (path, f"{caption}\nand {more} more")
    return tiles


def _caption(duplicate: Duplicate) -> str:
    similarity = "same file" if duplicate.same_file else f"{duplicate.cosine:.3f}"
    return f"{similarity}\n{duplicate.category}\n{_id(duplicate.item_id)}"


def _suspect_tile(suspect: Suspect) -> _Tile:
    caption = f"doubt {suspect.doubt:.2f}\n{suspect.category} → {suspect.suggested}?\n{_id(suspect.item_id)}"
    return suspect.image, caption


def _id(item_id: str) -> str:
    """Shorten an id to a caption's line, keeping its end, where paths differ."""
    return item_id if len(item_id) <= _MAX_ID_CHARACTERS else f"…{item_id[1 - _MAX_ID_CHARACTERS :]}"
