"""The file that feedback is appended to: whole lines whatever happens, and an error that says what did."""

import fcntl
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from search_service.engine import feedback_log as module
from search_service.engine.feedback_log import FeedbackLog
from shared.errors import StorageError
from shared.feedback_record import FeedbackRecord

_ROOT = Path(__file__).parents[3]
_APPEND = """
import sys
from datetime import UTC, datetime
from pathlib import Path
import numpy as np
from search_service.engine.feedback_log import FeedbackLog
from shared.feedback_record import FeedbackRecord
file = FeedbackLog(Path(sys.argv[1]))
embedding = np.full(1024, 1 / 32, np.float32)
sys.stdin.read(1)
for number in range(60):
    name = f"{sys.argv[2]} {number}"
    file.append(FeedbackRecord(name, datetime.now(UTC), "s", "e", "a", 0.5, "b", embedding=embedding))
"""


def _feedback(feedback_id: str = "f") -> FeedbackRecord:
    embedding = np.full(1024, 1 / 32, np.float32)
    return FeedbackRecord(feedback_id, datetime.now(UTC), "s", "e", "mugs", 0.5, "hats", embedding=embedding)


def _read(path: Path) -> list[str]:
    """The ids of the records, which all lines of the file are."""
    return [FeedbackRecord.from_line(line).feedback_id for line in path.read_bytes().splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "feedback.jsonl"


@pytest.fixture
def file(path: Path) -> FeedbackLog:
    return FeedbackLog(path)


def test_the_file_is_there_from_the_start_and_not_for_everybody(file, path) -> None:
    assert path.read_bytes() == b""
    assert path.stat().st_mode & 0o007 == 0


def test_records_are_appended_in_order(file, path) -> None:
    for name in ("a", "b"):
        file.append(_feedback(name))
    FeedbackLog(path).append(_feedback("c"))
    assert _read(path) == ["a", "b", "c"]


def test_threads_do_not_mix_their_lines(file, path) -> None:
    names = [str(number) for number in range(200)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda name: file.append(_feedback(name)), names))
    assert sorted(_read(path)) == sorted(names)


def test_processes_do_not_mix_their_lines(path) -> None:
    """Three that begin together; their lines are longer than a page."""
    names = ("a", "b", "c")
    commands = [[sys.executable, "-c", _APPEND, str(path), name] for name in names]
    children = [subprocess.Popen(command, cwd=_ROOT, stdin=subprocess.PIPE) for command in commands]
    for child in children:
        child.stdin.write(b"\n")
        child.stdin.close()
    assert [child.wait(60) for child in children] == [0, 0, 0]
    found = _read(path)
    for name in names:
        assert [one for one in found if one.startswith(name)] == [f"{name} {number}" for number in range(60)]
    assert len(found) == 180


def test_a_record_is_on_the_disk_before_the_client_is_told(file, path, monkeypatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(module.os, "fsync", lambda descriptor: flushed.append(os.fstat(descriptor).st_size))
    file.append(_feedback())
    assert flushed == [path.stat().st_size]


@pytest.mark.parametrize("length", [1, 100, 5000])
def test_after_a_torn_line_the_next_one_is_whole(file, path, length) -> None:
    file.append(_feedback("a"))
    with path.open("ab") as torn:
        torn.write(_feedback("torn").to_line().encode()[:length])
    file.append(_feedback("b"))
    first, torn_line, last = path.read_bytes().splitlines()
    assert len(torn_line) == length
    assert [FeedbackRecord.from_line(line).feedback_id for line in (first, last)] == ["a", "b"]


def test_a_file_that_was_moved_away_is_begun_anew(file, path) -> None:
    file.append(_feedback("a"))
    path.rename(path.with_suffix(".old"))
    file.append(_feedback("b"))
    assert (_read(path.with_suffix(".old")), _read(path)) == (["a"], ["b"])


# What can't be written


def _fails(file: FeedbackLog, reason: str) -> None:
    with pytest.raises(StorageError) as caught:
        file.append(_feedback())
    assert reason in str(caught.value)
    assert "PARECIDO_FEEDBACK" in str(caught.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk() -> None:
    _fails(FeedbackLog(Path("/dev/full")), "No space left on device")


def test_a_disk_that_takes_only_a_part_of_a_line(file, path, monkeypatch) -> None:
    write = os.write
    monkeypatch.setattr(module.os, "write", lambda descriptor, data: write(descriptor, data[:100]))
    _fails(file, f"100 of {len(_feedback().to_line())} bytes were written")
    monkeypatch.undo()
    file.append(_feedback("b"))
    torn, last = path.read_bytes().splitlines()
    assert (len(torn), FeedbackRecord.from_line(last).feedback_id) == (100, "b")


def test_a_file_has_a_greatest_size(file, path, monkeypatch) -> None:
    file.append(_feedback("a"))
    monkeypatch.setattr(module, "_MAX_FILE_BYTES", 2 * path.stat().st_size)
    file.append(_feedback("b"))
    _fails(file, "and the limit is")
    assert _read(path) == ["a", "b"]


@pytest.mark.parametrize(("name", "reason"), [("gone/feedback.jsonl", "No such file"), (".", "Is a directory")])
def test_a_path_that_can_not_be_written_is_logged_at_once_and_told_each_time(tmp_path, caplog, name, reason) -> None:
    with caplog.at_level(logging.WARNING):
        file = FeedbackLog(tmp_path / name)
    assert str(tmp_path / name) in caplog.text
    assert reason in caplog.text
    caplog.clear()
    _fails(file, reason)
    assert str(tmp_path / name) in caplog.text


def test_what_becomes_writable_is_written(tmp_path) -> None:
    file = FeedbackLog(tmp_path / "later" / "feedback.jsonl")
    _fails(file, "No such file")
    (tmp_path / "later").mkdir()
    file.append(_feedback("a"))
    assert _read(tmp_path / "later" / "feedback.jsonl") == ["a"]


def test_the_path_is_not_told_to_clients(tmp_path) -> None:
    with pytest.raises(StorageError) as caught:
        FeedbackLog(tmp_path / "secret" / "feedback.jsonl").append(_feedback())
    assert "secret" not in str(caught.value)


def test_a_file_that_another_process_keeps_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LOCK_WAIT_S", 0.05)
    file = FeedbackLog(tmp_path / "feedback.jsonl")
    with (tmp_path / "feedback.jsonl").open("rb") as other:  # reading is enough to lock
        fcntl.flock(other, fcntl.LOCK_EX)
        _fails(file, "another process holds its lock")
    file.append(_feedback())
    assert len((tmp_path / "feedback.jsonl").read_bytes().splitlines()) == 1
