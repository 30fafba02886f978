"""Which snapshots there are, which is current, and what a snapshot's files are."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from shared.errors import SnapshotError, SnapshotMissing
from shared.snapshot.data_directory import DataDirectory, SnapshotPaths

_ID = "20250102T030405-abcdef"


def _make_complete(data: DataDirectory, *ids: str) -> None:
    for snapshot_id in ids:
        data.paths(snapshot_id).root.mkdir(parents=True)
        data.paths(snapshot_id).manifest.write_text("{}", encoding="utf-8")


def test_ids_are_those_of_complete_snapshots_oldest_first(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    assert data.ids() == []
    _make_complete(data, "20250102T000000-b", "20250101T000000-c", ".building-abc")
    data.paths("20250103T000000-a").root.mkdir()
    (data.snapshots / "notes.txt").write_text("", encoding="utf-8")
    assert data.ids() == ["20250101T000000-c", "20250102T000000-b"]


@pytest.mark.parametrize("text", [_ID, f"{_ID}\n", f" {_ID}\r\n"])
def test_current_names_a_snapshot(tmp_path: Path, text: str) -> None:
    data = DataDirectory(tmp_path)
    _make_complete(data, _ID)
    data.current.write_bytes(text.encode())
    assert data.current_id() == _ID


@pytest.mark.parametrize("directory", ["", "no/such/directory"])
def test_without_current_nothing_is_published(tmp_path: Path, directory: str) -> None:
    data = DataDirectory(tmp_path / directory)
    with pytest.raises(SnapshotMissing, match="nothing is published in") as caught:
        data.current_id()
    assert f"python -m indexer build --catalogue PATH --data {data.root}" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        *("", "\n", ".", "..", "../..", "a\0b", "x" * 5000),
        *("nowhere", "incomplete", ".building-abc"),
        *(f"../snapshots/{_ID}", f"{_ID}/", f"./{_ID}", f"{_ID}\n{_ID}"),
    ],
)
def test_current_must_name_a_complete_snapshot(tmp_path: Path, text: str) -> None:
    data = DataDirectory(tmp_path)
    _make_complete(data, _ID, ".building-abc")
    data.paths("incomplete").root.mkdir()
    (tmp_path / "manifest.json").write_text("{}", encoding="utf-8")
    data.current.write_text(text, encoding="utf-8")
    with pytest.raises(SnapshotError, match="which is not a snapshot in") as caught:
        data.current_id()
    assert repr(text.strip()[:200]) in str(caught.value)


def test_current_may_not_name_a_path_that_is_a_snapshot(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    _make_complete(data, _ID)
    data.current.write_text(str(data.paths(_ID).root), encoding="utf-8")
    with pytest.raises(SnapshotError, match="which is not a snapshot in"):
        data.current_id()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (os.mkfifo, "a FIFO"),
        (lambda path: path.write_bytes(b"a" * 10_000_000), "has more than"),
        (lambda path: path.symlink_to("/dev/zero"), "leads out of"),
        (lambda path: path.symlink_to("/etc/hostname"), "leads out of"),
        (lambda path: path.symlink_to("current"), "current can't be read"),
    ],
)
def test_current_must_be_a_small_regular_file(tmp_path: Path, make: Callable[[Path], object], reason: str) -> None:
    data = DataDirectory(tmp_path)
    make(data.current)
    with pytest.raises(SnapshotError, match=reason):
        data.current_id()


@pytest.mark.parametrize(
    "snapshot_id", ["20250102T030405-\u0430bc", "2025\u202e", "\uff12025", "a b", "a\tb", "-" * 200]
)
def test_an_id_has_plain_characters_alone(tmp_path: Path, snapshot_id: str) -> None:
    data = DataDirectory(tmp_path)
    _make_complete(data, snapshot_id)
    data.current.write_text(snapshot_id, encoding="utf-8")
    with pytest.raises(SnapshotError, match="which is not a snapshot in"):
        data.current_id()


def test_current_must_be_text(tmp_path: Path) -> None:
    data = DataDirectory(tmp_path)
    data.current.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SnapshotError, match="current can't be read"):
        data.current_id()
    data.current.unlink()
    data.current.mkdir()
    with pytest.raises(SnapshotError, match="current can't be read"):
        data.current_id()


def test_checksums_are_of_every_file_but_the_manifest(tmp_path: Path) -> None:
    paths = SnapshotPaths(tmp_path)
    paths.partitions.mkdir()
    paths.manifest.write_bytes(b"{}")
    (paths.partitions / "shoes.faiss").write_bytes(b"abc")
    (paths.partitions / "manifest.json").write_bytes(b"")
    assert paths.checksums() == {  # echo -n abc | sha256sum
        "partitions/manifest.json": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "partitions/shoes.faiss": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    }
