from pathlib import Path

from indexer.files.location import read_limited
from shared.images.limits import ImageLimits


def test_a_huge_file_is_not_read_whole(tmp_path: Path) -> None:
    (tmp_path / "huge.jpg").write_bytes(bytes(1000))
    assert len(read_limited(tmp_path / "huge.jpg", ImageLimits(max_bytes=10))) == 11
    assert len(read_limited(tmp_path / "huge.jpg", ImageLimits(max_bytes=1000))) == 1000
