"""Hard links, or copies where the file system has none."""

import errno
import os
from pathlib import Path

import pytest

from indexer.files.durable_write import link_or_copy


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "old"
    path.write_bytes(os.urandom(100_000))
    return path


def test_a_link_is_the_same_file(source: Path, tmp_path: Path) -> None:
    link_or_copy(source, tmp_path / "new")
    assert (tmp_path / "new").samefile(source)
    source.unlink()
    assert (tmp_path / "new").stat().st_size == 100_000


@pytest.mark.parametrize("error", [errno.EPERM, errno.EXDEV, errno.EMLINK, errno.EOPNOTSUPP])
def test_a_file_that_can_not_be_linked_is_copied(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "link", refuse)
    link_or_copy(source, tmp_path / "new")
    assert not (tmp_path / "new").samefile(source)
    assert (tmp_path / "new").read_bytes() == source.read_bytes()


def test_another_file_system_gets_a_copy(source: Path) -> None:
    shm = Path("/dev/shm")
    if not shm.is_dir() or shm.stat().st_dev == source.stat().st_dev:
        pytest.skip("there is no second file system here")
    target = shm / f"parecido-{os.getpid()}"
    try:
        link_or_copy(source, target)
        assert target.read_bytes() == source.read_bytes()
    finally:
        target.unlink(missing_ok=True)


def test_a_missing_source_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        link_or_copy(tmp_path / "gone", tmp_path / "new")
