import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from indexer import publish as module
from indexer.publish import replace_file, set_current, write_snapshot
from shared.errors import SnapshotError, StorageError
from shared.snapshot import DataDirectory, SnapshotPaths

_ROOT = Path(__file__).parents[2]


def publish(data: DataDirectory, write) -> SimpleNamespace:
    """What a build does when nothing objects."""
    manifest = write_snapshot(data, write)
    set_current(data, manifest.snapshot_id)
    return manifest


class _Killed(BaseException):
    """Neither an Exception nor anything that the code could know: like a Ctrl-C."""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataDirectory:
    """A directory with `old` published; what is written into it passes as a snapshot."""
    monkeypatch.setattr(module.Snapshot, "open", lambda *_, **__: SimpleNamespace(close=lambda: None))
    directory = DataDirectory(tmp_path / "data")
    publish(directory, _write("old"))
    return directory


def _write(snapshot_id: str):
    def write(paths: SnapshotPaths) -> SimpleNamespace:
        paths.partitions.mkdir(parents=True)
        (paths.partitions / "c.faiss").write_bytes(b"index")
        paths.embedder.write_bytes(b"model")
        paths.manifest.write_text("{}")
        return SimpleNamespace(snapshot_id=snapshot_id)

    return write


def _files(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())


_OLD = [
    "current",
    "published",
    "snapshots/old/embedder.tflite",
    "snapshots/old/manifest.json",
    "snapshots/old/partitions/c.faiss",
]
_NEW = [name.replace("old", "new") for name in _OLD if name.startswith("snapshots")]


def test_a_snapshot_is_renamed_into_place_and_current(data: DataDirectory) -> None:
    assert publish(data, _write("new")).snapshot_id == "new"
    assert data.current.read_bytes() == b"new\n"
    assert data.published.read_bytes() == b"new\nold\n"
    assert _files(data.root) == sorted(_OLD + _NEW)


def test_it_is_verified_before_it_is_renamed(data: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    def look(paths: SnapshotPaths, interpreters: int) -> SimpleNamespace:
        seen.extend([paths.root.name[:10], paths.embedder.read_bytes(), data.ids(), data.current.read_text()])
        return SimpleNamespace(close=lambda: seen.append("closed"))

    monkeypatch.setattr(module.Snapshot, "open", look)
    publish(data, _write("new"))
    assert seen == [".building-", b"model", ["old"], "old\n", "closed"]


def test_every_file_and_directory_is_flushed_before_current_moves(
    data: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[tuple[int, str]] = []
    fsync = os.fsync

    def watch(descriptor: int) -> None:
        flushed.append((os.fstat(descriptor).st_ino, data.current.read_text()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watch)
    publish(data, _write("new"))
    before = {inode for inode, current in flushed if current == "old\n"}
    root = data.paths("new").root
    assert before >= {path.stat().st_ino for path in [root, *root.rglob("*"), data.snapshots]}
    assert data.current.stat().st_ino in before
    assert (data.root.stat().st_ino, "new\n") in flushed


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SnapshotError("damaged"), _Killed()])
@pytest.mark.parametrize("step", ["write", "verify", "rename"])
def test_a_failure_before_the_rename_leaves_everything_as_it_was(
    data: DataDirectory, monkeypatch: pytest.MonkeyPatch, step: str, error: BaseException
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    def write(paths: SnapshotPaths) -> SimpleNamespace:
        manifest = _write("new")(paths)
        if step == "write":
            fail()
        return manifest

    if step == "verify":
        monkeypatch.setattr(module.Snapshot, "open", fail)
    if step == "rename":
        monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(StorageError if isinstance(error, OSError) else type(error)):
        publish(data, write)
    assert _files(data.root) == _OLD
    assert sorted(path.name for path in data.snapshots.iterdir()) == ["old"]
    assert data.current.read_text() == "old\n"


def test_a_failure_to_flush_leaves_current_and_no_half_snapshot(
    data: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    fsync = os.fsync

    def fail_at(wanted: int) -> None:
        calls.clear()

        def flush(descriptor: int) -> None:
            calls.append(descriptor)
            if len(calls) == wanted:
                raise OSError(5, "Input/output error")
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", flush)

    fail_at(0)
    publish(data, _write("count"))
    total = len(calls)
    assert total == 10  # five of the snapshot, `snapshots`; `published`, then `current`, each with their directory
    set_current(data, "old")
    for wanted in range(1, total + 1):
        fail_at(wanted)
        with pytest.raises(StorageError, match="Input/output error"):
            publish(data, _write(f"new{wanted}"))
        # Once it is renamed it is complete; once `current` is replaced, only its flush can fail.
        assert (f"new{wanted}" in data.ids()) == (wanted > 5)
        assert data.current.read_text() == ("old\n" if wanted < total else f"new{wanted}\n")
        assert not list(data.root.rglob(".*"))


def test_an_id_that_is_taken_is_not_overwritten(data: DataDirectory) -> None:
    with pytest.raises(StorageError, match="not empty"):
        publish(data, _write("old"))
    assert _files(data.root) == _OLD


_KILL = """
import os, sys
from pathlib import Path
from indexer.publish import write_snapshot
from shared.snapshot import DataDirectory

def write(paths):
    paths.root.mkdir()
    paths.manifest.write_text("{}")
    os._exit(9)

write_snapshot(DataDirectory(Path(sys.argv[1])), write)
"""


def test_a_killed_build_leaves_only_a_hidden_directory(data: DataDirectory) -> None:
    done = subprocess.run([sys.executable, "-c", _KILL, str(data.root)], cwd=_ROOT, check=False)
    assert done.returncode == 9
    assert data.current_id() == "old"
    assert data.ids() == ["old"]
    assert all(path.name == "old" or path.name.startswith(".building-") for path in data.snapshots.iterdir())
    publish(data, _write("new"))
    assert data.current_id() == "new"


def test_replace_file_replaces_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "current"
    replace_file(path, "first\n")
    before = path.stat().st_ino
    replace_file(path, "sécond\n")
    assert path.read_text(encoding="utf-8") == "sécond\n"
    assert path.stat().st_ino != before  # a reader of the old one keeps it to the end
    assert [entry.name for entry in tmp_path.iterdir()] == ["current"]

    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    for name in ("write_text", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, name, fail)
            with pytest.raises(StorageError, match="current can't be written: Input/output error"):
                replace_file(path, "third\n")
        assert path.read_text(encoding="utf-8") == "sécond\n"
        assert [entry.name for entry in tmp_path.iterdir()] == ["current"]
