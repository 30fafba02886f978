"""Locks are taken, shared or not, and not waited for without a limit."""

import fcntl
import threading
import time
from pathlib import Path

from shared.files.file_lock import lock_within


def test_a_free_lock_is_taken_and_held(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("wb") as first, (tmp_path / "lock").open("rb") as second:
        assert lock_within(first, fcntl.LOCK_EX, 0)
        assert not lock_within(second, fcntl.LOCK_SH, 0)


def test_shared_locks_exclude_exclusive_ones_alone(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("wb") as first, (tmp_path / "lock").open("rb") as second:
        assert lock_within(first, fcntl.LOCK_SH, 0)
        assert lock_within(second, fcntl.LOCK_SH, 0)
        assert not lock_within(second, fcntl.LOCK_EX, 0.05)


def test_a_lock_that_is_given_back_in_time_is_taken(tmp_path: Path) -> None:
    with (tmp_path / "lock").open("wb") as first, (tmp_path / "lock").open("rb") as second:
        assert lock_within(first.fileno(), fcntl.LOCK_EX, 0)
        release = threading.Timer(0.1, lambda: fcntl.flock(first, fcntl.LOCK_UN))
        release.start()
        began = time.monotonic()
        assert lock_within(second, fcntl.LOCK_SH, 30)
        assert time.monotonic() - began < 30
        release.join()
