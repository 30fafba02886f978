"""Leases: held or not, in this process or another, given back by closing or by dying; and the race with a removal."""

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from shared.errors import SnapshotError
from shared.snapshot.data_directory import SnapshotPaths
from shared.snapshot.lease import SnapshotLease
from tests.support.fakes import is_leased

_ROOT = Path(__file__).parents[3]
_HOLD = """
import sys
from pathlib import Path
from shared.snapshot.data_directory import SnapshotPaths
from shared.snapshot.lease import SnapshotLease
lease = SnapshotLease(SnapshotPaths(Path(sys.argv[1])))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def paths(tmp_path: Path) -> SnapshotPaths:
    paths = SnapshotPaths(tmp_path / "20250102T030405-abc")
    paths.root.mkdir()
    paths.manifest.write_text("{}", encoding="utf-8")
    return paths


def test_a_snapshot_is_leased_until_the_last_lease_is_given_back(paths: SnapshotPaths) -> None:
    assert not is_leased(paths)
    first, second = SnapshotLease(paths), SnapshotLease(paths)
    assert is_leased(paths)
    first.close()
    assert is_leased(paths)
    second.close()
    assert not is_leased(paths)


def test_asking_takes_nothing(paths: SnapshotPaths) -> None:
    with closing(SnapshotLease(paths)):
        assert [is_leased(paths) for _ in range(3)] == [True] * 3
    assert [is_leased(paths) for _ in range(3)] == [False] * 3
    SnapshotLease(paths).close()


def test_closing_twice_does_no_harm(paths: SnapshotPaths) -> None:
    lease, other = SnapshotLease(paths), SnapshotLease(paths)
    lease.close()
    lease.close()
    assert is_leased(paths)
    other.close()


def test_leases_are_of_one_snapshot(paths: SnapshotPaths, tmp_path: Path) -> None:
    other = SnapshotPaths(tmp_path / "other")
    other.root.mkdir()
    other.manifest.write_text("{}", encoding="utf-8")
    with closing(SnapshotLease(paths)):
        assert not is_leased(other)


def test_reading_is_enough(paths: SnapshotPaths) -> None:
    paths.manifest.chmod(0o444)
    paths.root.chmod(0o555)
    try:
        with closing(SnapshotLease(paths)):
            assert is_leased(paths)
        assert not is_leased(paths)
    finally:
        paths.root.chmod(0o755)


def test_a_lease_of_a_killed_process_is_gone(paths: SnapshotPaths) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(paths.root)], cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout.readline() == b"held\n"
        assert is_leased(paths)
        holder.kill()
        holder.wait()
        assert not is_leased(paths)


def test_without_a_manifest_there_is_nothing_to_lease(paths: SnapshotPaths) -> None:
    paths.manifest.unlink()
    assert not is_leased(paths)
    with pytest.raises(SnapshotError, match=r"manifest\.json can't be read: No such file"):
        SnapshotLease(paths)


def _remove(paths: SnapshotPaths) -> None:
    paths.manifest.unlink()
    paths.root.rmdir()


def _replace(paths: SnapshotPaths) -> None:
    beside = paths.root / "beside"
    beside.write_text("{}", encoding="utf-8")
    beside.replace(paths.manifest)


@pytest.mark.parametrize("change", [_remove, _replace])
def test_what_is_removed_before_the_lease_is_taken_is_not_opened(
    paths: SnapshotPaths, monkeypatch: pytest.MonkeyPatch, change: Callable[[SnapshotPaths], None]
) -> None:
    lock = fcntl.flock

    def change_then_lock(file: object, operation: int) -> None:
        change(paths)
        lock(file, operation)

    monkeypatch.setattr(fcntl, "flock", change_then_lock)
    with pytest.raises(SnapshotError, match="was removed while it was being opened") as caught:
        SnapshotLease(paths)
    assert str(paths.root) in str(caught.value)
    monkeypatch.undo()
    assert not is_leased(paths)


def test_where_there_are_no_locks_everything_counts_as_leased(
    paths: SnapshotPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(file: object, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with closing(SnapshotLease(paths)):
        pass
    assert is_leased(paths)


def test_another_that_locks_the_manifest_is_not_waited_for(
    paths: SnapshotPaths, caplog: pytest.LogCaptureFixture
) -> None:
    with paths.manifest.open("rb") as other:  # reading is enough to lock
        fcntl.flock(other, fcntl.LOCK_EX)
        with closing(SnapshotLease(paths, wait_s=0.05)) as lease:
            lease.require_present(paths)
            assert is_leased(paths)  # retention can't have it either
    assert f"{paths.root} is opened without a lease" in caplog.text
    assert not is_leased(paths)


def test_a_snapshot_that_was_removed_after_the_lease_is_not_there(paths: SnapshotPaths) -> None:
    with closing(SnapshotLease(paths)) as lease:
        _remove(paths)
        with pytest.raises(SnapshotError, match="was removed while it was being opened"):
            lease.require_present(paths)


def test_a_manifest_that_is_a_fifo_is_not_opened(paths: SnapshotPaths) -> None:
    paths.manifest.unlink()
    os.mkfifo(paths.manifest)
    with pytest.raises(SnapshotError, match="is a FIFO"):
        SnapshotLease(paths)
    assert is_leased(paths)  # unknown, so it is treated as leased
