import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from indexer.snapshots.writer_lock import writer_lock
from shared.errors import Busy
from shared.snapshot.data_directory import DataDirectory

_ROOT = Path(__file__).parents[3]
_HOLD = """
import sys, time
from pathlib import Path
from indexer.snapshots.writer_lock import writer_lock
from shared.snapshot.data_directory import DataDirectory

with writer_lock(DataDirectory(Path(sys.argv[1]))):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def data(tmp_path: Path) -> DataDirectory:
    return DataDirectory(tmp_path)


def _holder(data: DataDirectory) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(data.root)], cwd=_ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_writer_gets_an_error_that_names_the_first(data: DataDirectory) -> None:
    with writer_lock(data), pytest.raises(Busy, match=f'"pid": {os.getpid()}') as caught, writer_lock(data):
        pytest.fail("two held the lock")
    assert str(data.root) in str(caught.value)
    assert caught.value.exit_status == 1


def test_the_lock_is_free_after_the_build_however_it_ends(data: DataDirectory) -> None:
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), writer_lock(data):
            raise ZeroDivisionError
    with writer_lock(data):
        assert json.loads(data.lock.read_text(encoding="utf-8"))["pid"] == os.getpid()


def test_a_killed_holder_releases_the_lock(data: DataDirectory) -> None:
    holder = _holder(data)
    with pytest.raises(Busy, match=f'"pid": {holder.pid}'), writer_lock(data):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.communicate()
    with writer_lock(data):
        assert json.loads(data.lock.read_text(encoding="utf-8"))["pid"] == os.getpid()


def test_only_leftovers_are_deleted(data: DataDirectory) -> None:
    kept = ["current", "build.json", "cache/embeddings.sqlite", ".keep", "snapshots/1/manifest.json"]
    gone = [".current.77", ".build.json.77", "snapshots/.building-ab/partitions/c.faiss", "snapshots/.deleted-0/x"]
    for name in kept + gone:
        path = data.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    with writer_lock(data):
        found = {path.relative_to(data.root).as_posix() for path in data.root.rglob("*") if path.is_file()}
    assert found == {*kept, "lock"}
    assert [path.name for path in data.snapshots.iterdir()] == ["1"]


def test_nothing_is_deleted_while_another_process_writes(data: DataDirectory) -> None:
    with writer_lock(data):
        half = data.snapshots / ".building-ab"
        half.mkdir(parents=True)
        with pytest.raises(Busy), writer_lock(data):
            pass
        assert half.is_dir()
