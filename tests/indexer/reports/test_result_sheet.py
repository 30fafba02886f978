from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from indexer.reports.result_sheet import visualize
from shared.errors import SettingsError, UnsupportedImage
from shared.snapshot.snapshot import Snapshot
from tests.support.fakes import picture


@pytest.fixture
def query(tmp_path: Path) -> Path:
    path = tmp_path / "query.png"
    path.write_bytes(picture((255, 40, 20), (300, 200), "PNG"))
    return path


def test_the_sheet_shows_the_query_and_its_hits(snapshot: Snapshot, query: Path, captions: list[str]) -> None:
    out = query.with_name("sheet.png")
    assert visualize(snapshot, query, out) == out
    with Image.open(out) as sheet:
        assert sheet.format == "PNG"
        assert min(sheet.size) > 300
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    reddish = (np.abs(pixels - (255, 40, 20)) < 20).all(axis=-1)
    assert reddish.sum() > 5000
    assert (pixels > 250).all(axis=-1).any()
    assert captions == ["query\nwarm 100.0%\ncold 0.0%", "1 · 0.998\nr2", "2 · 0.957\nFrom $^$ 🚲"]


def test_top_k_is_how_many_hits_at_most(snapshot: Snapshot, query: Path, captions: list[str]) -> None:
    visualize(snapshot, query, query.with_name("sheet.png"), top_k=1)
    assert len(captions) == 2


def test_an_item_whose_picture_is_gone_still_has_its_place(
    snapshot: Snapshot, query: Path, captions: list[str]
) -> None:
    query.with_name("red.png").unlink()
    query.with_name("tomato.png").write_text("no picture")
    visualize(snapshot, query, query.with_name("sheet.png"))
    assert len(captions) == 3


@pytest.mark.parametrize("name", ["sheet", "sheet.txt", "sheet.png.gz"])
def test_an_unknown_suffix_is_refused(snapshot: Snapshot, query: Path, name: str) -> None:
    out = query.with_name(name)
    with pytest.raises(SettingsError, match=r"--out is '.*'; expected a file that ends in \.jpeg, \.jpg, "):
        visualize(snapshot, query, out)
    assert not out.exists()


@pytest.mark.parametrize("top_k", [0, -1])
def test_fewer_than_one_hit_is_refused(snapshot: Snapshot, query: Path, top_k: int) -> None:
    with pytest.raises(SettingsError, match=f"--top-k is {top_k}; expected at least 1"):
        visualize(snapshot, query, query.with_name("sheet.png"), top_k)


def test_a_query_that_is_no_picture_is_refused(snapshot: Snapshot, query: Path) -> None:
    query.write_text("no picture")
    with pytest.raises(UnsupportedImage, match=r"query\.png"):
        visualize(snapshot, query, query.with_name("sheet.png"))
    with pytest.raises(UnsupportedImage, match=r"gone\.png can't be read: No such file or directory"):
        visualize(snapshot, query.with_name("gone.png"), query.with_name("sheet.png"))
