"""The directory of shared metrics: made, removed, and cleared away after services that were killed."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from search_service.observability.metrics_directory import ENVIRONMENT, clear_leftovers, metrics_directory
from search_service.observability.worker_counters import WorkerCounters

_ROOT = Path(__file__).parents[3]
_MASTER = """
import os, sys, time
from search_service.observability.metrics_directory import metrics_directory
with metrics_directory() as directory:
    (directory / "counter_1.db").write_text("counts")
    worker = os.fork() if sys.argv[1] == "worker" else 0
    if worker or sys.argv[1] == "alone":
        print(directory, worker, flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def temporary(monkeypatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    return tmp_path


@contextmanager
def _master(kind: str) -> Iterator[tuple[subprocess.Popen, Path, int]]:
    """A process that has a directory, and its worker's id."""
    with subprocess.Popen(
        [sys.executable, "-c", _MASTER, kind], cwd=_ROOT, stdout=subprocess.PIPE, text=True
    ) as master:
        assert master.stdout is not None
        directory, worker = master.stdout.readline().split()
        try:
            yield master, Path(directory), int(worker)
        finally:
            master.kill()


def test_a_directory_is_there_within_the_block_alone() -> None:
    with metrics_directory() as directory:
        assert os.environ[ENVIRONMENT] == str(directory)
        assert directory.stat().st_mode & 0o777 == 0o700
        (directory / "counter_1.db").write_text("counts")
    assert not directory.exists()
    assert ENVIRONMENT not in os.environ


def test_a_forked_worker_removes_nothing() -> None:
    with ExitStack() as block:
        directory = block.enter_context(metrics_directory())
        worker = os.fork()
        if worker == 0:
            try:
                block.close()
            finally:
                os._exit(0)
        os.waitpid(worker, 0)
        assert directory.exists()


def test_a_killed_services_directory_is_cleared_at_the_next_start() -> None:
    with _master("alone") as (master, left, _):
        clear_leftovers()
        assert left.exists(), "it is in use"
        master.kill()
        master.wait()
        assert left.exists(), "nobody has cleared it yet"
        with metrics_directory() as directory:
            assert not left.exists()
            assert directory.exists()


def test_what_a_worker_still_uses_stays() -> None:
    with _master("worker") as (master, left, worker):
        master.kill()
        master.wait()
        try:
            clear_leftovers()
            assert (left / "counter_1.db").exists()
        finally:
            os.kill(worker, signal.SIGKILL)
            assert master.stdout.read() == ""  # it has ended
        clear_leftovers()
        assert not left.exists()


def test_a_service_beside_this_one_keeps_its_directory() -> None:
    with _master("alone") as (_, other, _), metrics_directory() as directory:
        assert other.exists()
        assert other != directory


def test_nothing_else_is_touched(temporary: Path) -> None:
    elsewhere = temporary / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "in-use").touch()
    (temporary / "parecido-metrics-link").symlink_to(elsewhere)
    linked = temporary / "parecido-metrics-linked-lock"
    linked.mkdir()
    (linked / "in-use").symlink_to(elsewhere / "in-use")
    piped = temporary / "parecido-metrics-pipe"
    piped.mkdir()
    os.mkfifo(piped / "in-use")
    unlocked = temporary / "parecido-metrics-new"  # as just made, or of an earlier version that had no locks
    unlocked.mkdir()
    (temporary / "parecido-metrics-file").touch()
    (temporary / "other-metrics-1").mkdir()
    (temporary / "other-metrics-1" / "in-use").touch()
    before = sorted(temporary.rglob("*"))
    clear_leftovers()
    assert sorted(temporary.rglob("*")) == before


def test_links_in_a_leftover_are_not_followed(temporary: Path) -> None:
    kept = temporary / "kept"
    kept.mkdir()
    (kept / "file").touch()
    left = temporary / "parecido-metrics-left"
    left.mkdir()
    (left / "in-use").touch()
    (left / "link").symlink_to(kept)
    clear_leftovers()
    assert not left.exists()
    assert (kept / "file").exists()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make another user's directory")
def test_another_users_directory_stays(temporary: Path) -> None:
    left = temporary / "parecido-metrics-other"
    left.mkdir()
    (left / "in-use").touch()
    os.chown(left, 12345, 12345)
    clear_leftovers()
    assert left.exists()


def test_a_temporary_directory_that_cannot_be_read_stops_nothing(monkeypatch, temporary: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(temporary / "gone"))
    clear_leftovers()


def test_the_lock_is_not_the_one_of_the_counts() -> None:
    with metrics_directory() as directory:
        WorkerCounters(directory).merge_ended([])  # raises BlockingIOError where somebody else holds it
