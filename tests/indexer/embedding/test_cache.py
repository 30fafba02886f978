import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from indexer.embedding.cache import EmbeddingCache
from shared.errors import StorageError
from shared.vectors import Vectors

_ROOT = Path(__file__).parents[3]


def _digest(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def _views(number: int, n_views: int = 2) -> Vectors:
    return np.random.default_rng(number).normal(size=(n_views, 16)).astype(np.float32)


class _Caches:
    """Opens caches in one place and hears what they say."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.said: list[str] = []

    def open(self, recipe: str = "r", n_views: int = 2) -> closing[EmbeddingCache]:
        return closing(EmbeddingCache(self.path, recipe, n_views, self.said.append))

    def fill(self, count: int, recipe: str = "r") -> None:
        with self.open(recipe) as cache:
            for number in range(count):
                cache.put(_digest(number), _views(number))

    def found(self, count: int, recipe: str = "r") -> list[int]:
        """The numbers of those that are there and as they were put."""
        with self.open(recipe) as cache:
            found = {number: cache.views(_digest(number)) for number in range(count)}
        for number, views in found.items():
            assert views is None or np.array_equal(views, _views(number))
        return [number for number, views in found.items() if views is not None]

    def sql(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            return connection.execute(statement, values).fetchall()


@pytest.fixture
def caches(tmp_path: Path) -> _Caches:
    return _Caches(tmp_path / "cache" / "embeddings.sqlite")


def test_what_is_put_is_found_again(caches: _Caches) -> None:
    caches.fill(3)
    assert caches.found(5) == [0, 1, 2]
    assert caches.said == []


def test_recipes_are_kept_apart(caches: _Caches) -> None:
    with caches.open("one") as one:
        one.put(_digest(0), _views(0))
    with caches.open("two", n_views=1) as two:
        assert two.views(_digest(0)) is None
        two.put(_digest(0), _views(7, 1))
    assert caches.found(1, "one") == [0]
    with caches.open("two", n_views=1) as two:
        np.testing.assert_array_equal(two.views(_digest(0)), _views(7, 1))


def test_the_same_image_is_kept_once(caches: _Caches) -> None:
    caches.fill(4)
    caches.fill(4)
    assert caches.sql("SELECT count(*) FROM entries") == [(4,)]


@pytest.mark.parametrize("damage", ["views = zeroblob(128)", "views = x'00'", "checksum = checksum + 1"])
def test_a_damaged_entry_counts_as_missing_and_is_said(caches: _Caches, damage: str) -> None:
    caches.fill(3)
    caches.sql(f"UPDATE views SET {damage} WHERE number = 2")
    assert caches.found(3) == [0, 2]
    assert caches.said == [f"1 damaged entries of {caches.path} were embedded again"]
    caches.said.clear()
    caches.fill(3)
    assert caches.found(3) == [0, 1, 2]
    assert caches.said == []


@pytest.mark.parametrize("value", ["'text'", "5", "1.5", "x''", "x'ffffffff'"])
def test_an_entry_of_another_type_counts_as_missing(caches: _Caches, value: str) -> None:
    """A single flipped bit makes text of a blob, and SQLite takes any type anywhere."""
    caches.fill(3)
    caches.sql(f"UPDATE views SET views = {value} WHERE number = 2")
    assert caches.found(3) == [0, 2]
    caches.fill(3)
    assert caches.found(3) == [0, 1, 2]


@pytest.mark.parametrize("value", ["CAST(digest AS TEXT)", "'text'", "5", "1.5", "x''"])
def test_a_file_whose_digest_is_of_another_type_is_not_known(caches: _Caches, tmp_path: Path, value: str) -> None:
    status = _file(tmp_path / "a.png", age_s=60)
    with caches.open() as cache:
        cache.remember_file("a.png", status, b"\xff" * 32)
    caches.sql(f"UPDATE files SET digest = {value}")
    with caches.open() as cache:
        assert cache.known_digest("a.png", status) in (None, b"\xff" * 32)
        cache.remember_file("a.png", status, _digest(1))
        assert cache.known_digest("a.png", status) == _digest(1)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_bits_flip_nothing_wrong_is_found(caches: _Caches, tmp_path: Path, seed: int) -> None:
    """…and nothing is raised: what is damaged is put again, into this database or a new one."""
    status = _file(tmp_path / "a.png", age_s=60)
    with caches.open() as cache:
        for number in range(30):
            cache.put(_digest(number), _views(number))
            cache.remember_file(f"{number}.png", status, _digest(number))
    whole = caches.path.read_bytes()
    random = np.random.default_rng(seed)
    for _ in range(40):
        content = np.frombuffer(whole, dtype=np.uint8).copy()
        places = random.integers(0, len(content), random.integers(1, 40))
        content[places] ^= (1 << random.integers(0, 8, len(places))).astype(np.uint8)
        caches.path.write_bytes(content.tobytes())
        with caches.open() as cache:
            for number in range(30):
                known = cache.known_digest(f"{number}.png", status)
                assert known in (None, _digest(number))
                views = cache.views(_digest(number))
                if views is None:
                    cache.put(_digest(number), _views(number))
                else:
                    np.testing.assert_array_equal(views, _views(number))
                cache.remember_file(f"{number}.png", status, _digest(number))
            cache.mark_used(map(_digest, range(30)))
        for leftover in caches.path.parent.iterdir():
            leftover.unlink()


def test_views_of_another_image_are_not_taken_for_its_own(caches: _Caches) -> None:
    caches.fill(2)
    caches.sql("UPDATE views SET number = number + 10")
    caches.sql("UPDATE views SET number = 13 - number")
    with caches.open() as cache:
        assert [cache.has(_digest(number)) for number in range(2)] == [True, True]
    assert caches.found(2) == []
    assert caches.said == [f"2 damaged entries of {caches.path} were embedded again"]


def test_a_file_that_is_no_database_is_set_aside(caches: _Caches) -> None:
    caches.path.parent.mkdir()
    caches.path.write_bytes(b"garbage " * 1000)
    caches.fill(2)
    assert caches.found(2) == [0, 1]
    (said,) = caches.said
    assert "can't be used (file is not a database): set aside as embeddings.sqlite.damaged, replaced by" in said
    assert caches.path.with_name("embeddings.sqlite.damaged").read_bytes() == b"garbage " * 1000


def test_damage_met_on_the_way_sets_it_aside(caches: _Caches) -> None:
    caches.fill(200)
    with caches.path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(3 * 4096)
        file.write(b"\xff" * (size - 3 * 4096))
    with caches.open() as cache:
        for number in range(200):
            if cache.views(_digest(number)) is None:
                cache.put(_digest(number), _views(number))
        cache.mark_used(map(_digest, range(200)))
    assert "can't be used (database disk image is malformed): set aside" in caches.said[0]
    assert caches.found(200) == list(range(200))


def test_a_locked_database_is_not_set_aside(caches: _Caches, monkeypatch: pytest.MonkeyPatch) -> None:
    caches.fill(2)
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *values, **named: connect(*values, **named, timeout=0.1))
    with closing(connect(caches.path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageError, match="can't be used: database is locked"):
            caches.fill(1)
    monkeypatch.undo()
    assert caches.said == []
    assert caches.found(2) == [0, 1]


# Files


def _file(path: Path, age_s: float) -> os.stat_result:
    path.write_bytes(b"picture")
    changed = time.time() - age_s
    os.utime(path, (changed, changed))
    return path.stat()


def test_a_settled_file_is_remembered_until_size_or_time_differ(caches: _Caches, tmp_path: Path) -> None:
    status = _file(tmp_path / "a.png", age_s=60)
    with caches.open() as cache:
        assert cache.known_digest("a.png", status) is None
        cache.remember_file("a.png", status, _digest(1))
        assert cache.known_digest("a.png", status) == _digest(1)
        assert cache.known_digest("b.png", status) is None
        assert cache.known_digest("a.png", _file(tmp_path / "a.png", age_s=50)) is None
        (tmp_path / "a.png").write_bytes(b"longer than before")
        os.utime(tmp_path / "a.png", ns=(status.st_mtime_ns, status.st_mtime_ns))
        assert cache.known_digest("a.png", (tmp_path / "a.png").stat()) is None


def test_a_remembered_file_serves_every_recipe(caches: _Caches, tmp_path: Path) -> None:
    status = _file(tmp_path / "a.png", age_s=60)
    with caches.open("one") as cache:
        cache.remember_file("a.png", status, _digest(1))
    with caches.open("two") as cache:
        assert cache.known_digest("a.png", status) == _digest(1)


@pytest.mark.parametrize(("age_s", "remembered"), [(0, False), (1, False), (3, True), (-60, False)])
def test_a_file_that_changed_just_now_is_not_remembered(
    caches: _Caches, tmp_path: Path, age_s: float, remembered: bool
) -> None:
    """Within the clock's grain it may change again and look the same; one from the future is as doubtful."""
    status = _file(tmp_path / "a.png", age_s)
    with caches.open() as cache:
        cache.remember_file("a.png", status, _digest(1))
        assert (cache.known_digest("a.png", status) is not None) == remembered


# Kills, pruning, threads

_PUT_AND_WAIT = """
import sys, time
from pathlib import Path
import numpy as np
from indexer.embedding.cache import EmbeddingCache

cache = EmbeddingCache(Path(sys.argv[1]), "r", 2, print)
for number in range(100):
    cache.put(bytes([number]) * 32, np.full((2, 16), number, np.float32))
    print(number, flush=True)
    time.sleep(0.05)
"""


def test_what_was_put_over_a_second_ago_survives_a_kill(caches: _Caches) -> None:
    command = [sys.executable, "-c", _PUT_AND_WAIT, str(caches.path)]
    process = subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    times = [(int(process.stdout.readline()), time.monotonic()) for _ in range(40)]
    process.send_signal(signal.SIGKILL)
    killed = time.monotonic()
    process.communicate()
    with caches.open() as cache:
        for number, put in times:
            views = cache.views(bytes([number]) * 32)
            if put < killed - 1.5:  # a second, and what a busy machine needs
                assert views is not None
                assert (views == number).all()
    assert times[0][1] < killed - 1.5
    assert caches.said == []


def test_what_was_used_today_is_not_written_again(caches: _Caches) -> None:
    caches.fill(2)
    caches.sql("UPDATE entries SET used_at = used_at - 3600")
    caches.sql("UPDATE entries SET used_at = used_at - 86400 WHERE digest = ?", _digest(1))
    (before,) = caches.sql("SELECT used_at FROM entries WHERE digest = ?", _digest(0))
    with caches.open() as cache:
        cache.mark_used(map(_digest, range(2)))
    assert caches.sql("SELECT used_at FROM entries WHERE digest = ?", _digest(0)) == [before]
    assert caches.sql("SELECT used_at FROM entries WHERE digest = ?", _digest(1)) > [before]


def test_has_tells_without_reading(caches: _Caches) -> None:
    """Whether an entry is damaged shows when it is read, and from then on it is not there."""
    caches.fill(2)
    caches.sql("UPDATE views SET checksum = checksum + 1 WHERE number = 1")
    with caches.open() as cache:
        assert [cache.has(_digest(number)) for number in range(3)] == [True, True, False]
        assert cache.views(_digest(0)) is None
        assert [cache.has(_digest(number)) for number in range(3)] == [False, True, False]
    assert caches.sql("SELECT count(*) FROM views") == [(1,)]


def test_what_is_put_is_counted(caches: _Caches) -> None:
    caches.fill(3)
    with caches.open() as cache:
        assert cache.n_put == 0
        cache.put(_digest(7), _views(7))
        assert cache.n_put == 1


def test_one_of_another_version_is_set_aside(caches: _Caches) -> None:
    caches.fill(2)
    caches.sql("PRAGMA user_version = 1")
    assert caches.found(2) == []
    (said,) = caches.said
    assert "(it has format version 1; this version of Parecido uses 3): set aside as embeddings.sqlite.damaged" in said
    caches.said.clear()
    caches.fill(2)
    assert caches.found(2) == [0, 1]
    assert caches.said == []


def test_what_an_interrupted_beginning_left_is_no_other_version(caches: _Caches) -> None:
    caches.path.parent.mkdir()
    caches.path.touch()
    caches.fill(2)
    assert caches.found(2) == [0, 1]
    assert caches.said == []


# Only reading


def _state(path: Path) -> dict[str, tuple[int, int, bytes]]:
    """The directory of the database and every file in it."""
    files = {file.name: file.read_bytes() for file in path.parent.iterdir()} | {"": b""}
    status = {name: (path.parent / name).stat() for name in files}
    return {name: (status[name].st_mtime_ns, status[name].st_ino, content) for name, content in files.items()}


def test_read_only_tells_the_same_and_writes_nothing(caches: _Caches, tmp_path: Path) -> None:
    caches.fill(3)
    status = _file(tmp_path / "a.png", age_s=60)
    with caches.open() as cache:
        cache.remember_file("a.png", status, _digest(1))
    before = _state(caches.path)
    with closing(EmbeddingCache(caches.path, "r", 2, caches.said.append, True)) as cache:
        assert [cache.has(_digest(number)) for number in range(4)] == [True, True, True, False]
        assert cache.known_digest("a.png", status) == _digest(1)
        np.testing.assert_array_equal(cache.views(_digest(2)), _views(2))
    with closing(EmbeddingCache(caches.path, "another", 2, caches.said.append, True)) as cache:
        assert not cache.has(_digest(0))
    assert _state(caches.path) == before
    assert caches.sql("SELECT recipe FROM recipes") == [("r",)]


def test_read_only_sees_what_a_build_under_way_has_committed(caches: _Caches) -> None:
    with caches.open() as writer:
        writer.put(_digest(0), _views(0))
        writer.mark_used([])  # commits
        with closing(EmbeddingCache(caches.path, "r", 2, caches.said.append, True)) as reader:
            np.testing.assert_array_equal(reader.views(_digest(0)), _views(0))
            writer.put(_digest(1), _views(1))
            assert not reader.has(_digest(1))
    assert caches.found(2) == [0, 1]
    assert [path.name for path in caches.path.parent.iterdir()] == [caches.path.name]


@pytest.mark.parametrize("content", [b"garbage " * 1000, None])
def test_read_only_sets_nothing_aside_and_begins_nothing(caches: _Caches, content: bytes | None) -> None:
    caches.path.parent.mkdir()
    if content is not None:
        caches.path.write_bytes(content)
    with pytest.raises(StorageError, match=r"embeddings\.sqlite can't be used: "):
        EmbeddingCache(caches.path, "r", 2, caches.said.append, True)
    assert [path.name for path in caches.path.parent.iterdir()] == ([] if content is None else [caches.path.name])


def test_threads_share_a_cache(caches: _Caches, tmp_path: Path) -> None:
    status = _file(tmp_path / "a.png", age_s=60)
    barrier = threading.Barrier(8)
    with caches.open() as cache:

        def work(first: int) -> None:
            barrier.wait()
            for number in range(first, first + 50):
                cache.put(_digest(number), _views(number))
                cache.remember_file(f"{number}", status, _digest(number))
                np.testing.assert_array_equal(cache.views(_digest(number)), _views(number))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(work, range(0, 200, 25)))  # every number but the first and last 25 is put by two
    assert caches.found(225) == list(range(225))
    assert caches.sql("SELECT count(*) FROM files") == [(225,)]
