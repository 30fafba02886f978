import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from indexer.files.durable_write import replace_file
from indexer.snapshots import publish as module
from indexer.snapshots.publish import delete_old_snapshots, published_ids, set_current, write_snapshot
from shared.errors import SnapshotError, StorageError
from shared.snapshot.data_directory import DataDirectory, SnapshotPaths

_ROOT = Path(__file__).parents[3]


def publish(data: DataDirectory, write) -> SimpleNamespace:
    """Publish a snapshot as a build does."""
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

    def fail_at(number: int) -> None:
        calls.clear()

        def flush(descriptor: int) -> None:
            calls.append(descriptor)
            if len(calls) == number:
                raise OSError(5, "Input/output error")
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", flush)

    fail_at(0)
    publish(data, _write("count"))
    total = len(calls)
    assert total == 10  # five of the snapshot, `snapshots`; `published`, then `current`, each with their directory
    set_current(data, "old")
    for number in range(1, total + 1):
        fail_at(number)
        with pytest.raises(StorageError, match="Input/output error"):
            publish(data, _write(f"new{number}"))
        # Once it is renamed it is complete; once `current` is replaced, only its flush can fail.
        assert (f"new{number}" in data.ids()) == (number > 5)
        assert data.current.read_text() == ("old\n" if number < total else f"new{number}\n")
        assert not list(data.root.rglob(".*"))


def test_an_id_that_is_taken_is_not_overwritten(data: DataDirectory) -> None:
    with pytest.raises(StorageError, match="not empty"):
        publish(data, _write("old"))
    assert _files(data.root) == _OLD


_KILL = """
import os, sys
from pathlib import Path
from indexer.snapshots.publish import write_snapshot
from shared.snapshot.data_directory import DataDirectory

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


def test_replace_file_is_atomic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "current"
    replace_file(path, "first\n")
    before = path.stat().st_ino
    replace_file(path, "sécond\n")
    assert path.read_text(encoding="utf-8") == "sécond\n"
    assert path.stat().st_ino != before  # a reader of the old one keeps it to the end
    assert [entry.name for entry in tmp_path.iterdir()] == ["current"]

    def fail(*_: object, **__: object) -> None:
        raise OSError(5, "Input/output error")

    for name in ("write_bytes", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(Path, name, fail)
            with pytest.raises(StorageError, match="current can't be written: Input/output error"):
                replace_file(path, "third\n")
        assert path.read_text(encoding="utf-8") == "sécond\n"
        assert [entry.name for entry in tmp_path.iterdir()] == ["current"]


# Retention


def _have(data: DataDirectory, published: str, held_back: str = "") -> None:
    """Snapshots called by a letter each, those published in their order, and `current` the last of them."""
    for letter in sorted({*published, *held_back}):
        write_snapshot(data, _write(letter))
    data.published.write_text("")
    for letter in published:
        set_current(data, letter)
    shutil.rmtree(data.paths("old").root)


@pytest.mark.parametrize(
    ("published", "held_back", "keep", "left"),
    [
        ("abcde", "", 5, "abcde"),
        ("abcde", "", 2, "de"),
        ("abcde", "", 1, "e"),
        # A candidate takes nobody's place, and stays while it is newer than what is published.
        ("abc", "d", 3, "abcd"),
        ("abc", "d", 1, "cd"),
        ("abc", "def", 3, "abcf"),
        ("abcf", "de", 9, "abcf"),
        ("ad", "bce", 9, "ade"),
        # After a rollback, what was published later counts among the others.
        ("abca", "", 2, "ac"),
        ("abcb", "d", 2, "bcd"),
        ("abcb", "", 1, "b"),
    ],
)
def test_kept_snapshots(data: DataDirectory, published: str, held_back: str, keep: int, left: str) -> None:
    _have(data, published, held_back)
    before = set(data.ids())
    deleted = delete_old_snapshots(data, keep)
    assert "".join(data.ids()) == left
    assert deleted == sorted(before - set(left))
    assert sorted(path.name for path in data.snapshots.iterdir()) == list(left)
    assert data.current_id() == published[-1]


def test_rejected_candidates_never_displace_a_published_snapshot(data: DataDirectory) -> None:
    _have(data, "abc")
    for letter in "defghij":
        write_snapshot(data, _write(letter))
        delete_old_snapshots(data, 3)
        assert data.ids() == [*"abc", letter]


def test_without_the_list_of_published_snapshots_all_count_as_published(data: DataDirectory) -> None:
    _have(data, "abc", "d")
    data.published.unlink()
    assert published_ids(data) == set("abcd")
    assert delete_old_snapshots(data, 3) == ["a"]


def test_deleted_snapshots_leave_the_list_of_published_ones(data: DataDirectory) -> None:
    _have(data, "abc")
    delete_old_snapshots(data, 1)
    write_snapshot(data, _write("d"))
    set_current(data, "d")
    assert data.published.read_text() == "c\nd\n"


def test_before_anything_is_published_nothing_is_deleted(data: DataDirectory) -> None:
    _have(data, "abc")
    data.current.unlink()
    assert delete_old_snapshots(data, 1) == []
    assert data.ids() == list("abc")


# A lease that is taken while a snapshot is deleted

_HAMMER = """
import sys, time
from pathlib import Path
from shared.snapshot.data_directory import DataDirectory
from shared.errors import SnapshotError
from shared.snapshot.lease import SnapshotLease

data, until = DataDirectory(Path(sys.argv[1])), time.monotonic() + float(sys.argv[2])
got = refused = 0
while time.monotonic() < until:
    for snapshot_id in data.ids():
        paths = data.paths(snapshot_id)
        try:
            lease = SnapshotLease(paths)
        except SnapshotError:
            refused += 1
            continue
        for _ in range(3):
            assert sorted(path.name for path in paths.partitions.iterdir()) == ["c.faiss"], "a half snapshot"
            assert paths.embedder.read_bytes() == b"model"
        lease.close()
        got += 1
print(got, refused)
"""


def test_a_lease_taken_while_it_is_deleted_never_ends_with_half_a_snapshot(data: DataDirectory) -> None:
    """Four processes take leases as fast as they can, while snapshots come and go."""
    command = [sys.executable, "-c", _HAMMER, str(data.root), "3"]
    hammers = [
        subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    deleted = kept = number = 0
    while any(hammer.poll() is None for hammer in hammers):
        number += 1
        publish(data, _write(f"{number:06}"))
        found = len(delete_old_snapshots(data, 1))
        deleted += found
        kept += len(data.ids()) - 1
    outputs = [hammer.communicate() for hammer in hammers]
    assert [hammer.returncode for hammer in hammers] == [0] * 4, outputs
    taken, rejected = (sum(int(out.split()[column]) for out, _ in outputs) for column in (0, 1))
    print(
        f"{taken} leases taken, {rejected} rejected; {deleted} snapshots deleted, {kept} times one was kept for a lease"
    )
    assert min(taken, deleted) > 10
    assert kept > 0
    assert rejected > 0
    delete_old_snapshots(data, 1)
    assert data.ids() == [data.current_id()]
    assert sorted(path.name for path in data.snapshots.iterdir()) == data.ids()
