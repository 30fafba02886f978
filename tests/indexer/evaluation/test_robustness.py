from pathlib import Path

from PIL import Image

from indexer.console.progress import SilentReporter
from indexer.evaluation.robustness import search_by_edited
from shared.snapshot.snapshot import Snapshot


def test_plain_pictures_are_found_again_but_not_when_they_are_gone(snapshot: Snapshot, tmp_path: Path) -> None:
    """One colour stays the same however it is mirrored, and each category's two items are both among the first ten."""
    found = {one.change: one for one in search_by_edited(snapshot, SilentReporter())}
    assert (found["mirrored"].photos, found["mirrored"].recall_at_10) == (4, 1.0)
    assert found["mirrored"].interval[1] == 1.0
    Image.new("RGB", (30, 30), "blue").save(tmp_path / "red.png")  # taken for the other category now
    (tmp_path / "blue.png").unlink()
    (tmp_path / "teal.png").write_bytes(b"no picture")
    found = {one.change: one for one in search_by_edited(snapshot, SilentReporter())}
    assert (found["JPEG quality 30"].photos, found["JPEG quality 30"].recall_at_10) == (2, 0.5)
