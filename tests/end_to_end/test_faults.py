"""What may go wrong around a build: disks that are full or read-only, damage, changes under way, a clock put back.

Builds run in this process, by colour and without TensorFlow: whatever they raise fails the test, so that an exit status
and an error code stand for "no traceback".
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from indexer.embedding import cache as embedding_cache
from indexer.embedding import cache_database
from search_service.settings import ServiceSettings
from search_service.wsgi import make_app
from shared.model import embedder
from shared.snapshot.data_directory import DataDirectory
from tests.support.builders.quick_stages import ColourInterpreter
from tests.support.builders.shop import Done, Shop

_ROOT = Path(__file__).parents[2]
_VIEWS = 2


def _good(done: Done) -> Done:
    assert (done.status, done.json.get("published")) == (0, True), done.err
    return done


def _failed(done: Done, code: str, status: int = 1) -> str:
    """The message of a command that failed so."""
    assert (done.status, done.json.get("error", {}).get("code")) == (status, code), done.err
    message: str = done.json["error"]["message"]
    assert f"parecido: {message.splitlines()[0]}" in done.err
    return message


def _is_as_from_scratch(shop: Shop, root: Path) -> None:
    fresh = Shop(shop.root, data=root)
    _good(fresh.first_build("--max-bad", 1))
    assert shop.hits() == fresh.hits()
    shutil.rmtree(root)


# Disks


class _WideInterpreter(ColourInterpreter):
    """As long embeddings as real ones, so that a catalogue of a few pictures fills a small disk."""

    dim = 1280

    def run(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.tile(super().run(image), self.dim // ColourInterpreter.dim)


class _Disk:
    """A file system of a few megabytes, in memory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._filler = root / "filler"

    def leave(self, free_bytes: int) -> None:
        """Fill it up but for so much."""
        self.make_room()
        status = os.statvfs(self.root)
        self._filler.write_bytes(bytes(max(0, status.f_bavail * status.f_frsize - free_bytes)))

    def make_room(self) -> None:
        self._filler.unlink(missing_ok=True)

    def remount(self, mode: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{mode}", self.root], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[_Disk]:
    root = tmp_path / "disk"
    root.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", root]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("NOT TESTED: full and read-only disks, since file systems can't be mounted here: try it as root")
    try:
        yield _Disk(root)
    finally:
        subprocess.run(["umount", root], check=True)  # so nothing has been left open there


@pytest.fixture
def shop(disk: _Disk, quick_stages_called: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """Twelve items that are published on the disk, and twenty-four more in the catalogue, which lies elsewhere."""
    monkeypatch.setattr(embedder, "_Interpreter", _WideInterpreter)
    monkeypatch.setattr(cache_database, "_COMMIT_S", 0.0)
    shop = Shop(tmp_path / "shop", data=disk.root / "data").draw(side=40)
    rows = shop.rows()
    shop.write(rows[::3])
    _good(shop.first_build())
    shop.write(rows)
    quick_stages_called.clear()
    return shop


def _embedded(data: DataDirectory) -> int:
    """How many images' embeddings the cache has."""
    with closing(sqlite3.connect(data.cache)) as connection:
        return int(connection.execute("SELECT count(*) FROM entries JOIN views USING (number)").fetchone()[0])


def _verified(shop: Shop) -> str:
    done = shop.run("verify")
    assert done.status == 0, done.err
    return str(done.json["snapshot_id"])


def test_a_disk_that_is_full_while_images_are_embedded(shop: Shop, disk: _Disk, tmp_path: Path) -> None:
    before, hits = shop.data.current_id(), shop.hits()
    disk.leave(200_000)
    message = _failed(shop.build(), "storage")
    assert message.startswith(f"the embedding cache {shop.data.cache} can't be used: database or disk is full; 0 MB")
    assert (_verified(shop), shop.hits()) == (before, hits)
    committed = _embedded(shop.data)
    assert 12 < committed < 36
    _failed(shop.build(), "storage")  # again, and no worse
    assert _embedded(shop.data) >= committed
    committed = _embedded(shop.data)
    disk.make_room()
    done = _good(shop.build())
    assert done.json["embedded"] == _VIEWS * (36 - committed)
    assert "set aside" not in done.err
    _is_as_from_scratch(shop, tmp_path / "fresh")


def test_a_disk_that_is_full_while_the_snapshot_is_written(shop: Shop, disk: _Disk) -> None:
    _good(shop.build())
    before, hits = shop.data.current_id(), shop.hits()
    files = set(shop.data.root.rglob("*"))
    disk.leave(250_000)
    message = _failed(shop.build("--index-views", "all"), "storage")
    assert message.startswith(f"no snapshot can be written to {shop.data.snapshots}: ")
    assert "No space left on device" in message
    assert message.endswith("MB are free. The published snapshot is unchanged")
    assert (_verified(shop), shop.hits()) == (before, hits)
    assert set(shop.data.root.rglob("*")) <= files  # nothing of it is left
    disk.make_room()
    done = _good(shop.build("--index-views", "all"))
    assert done.json["embedded"] == 0
    assert done.json["snapshot_id"] == _verified(shop) > before


def test_wherever_the_disk_becomes_full(shop: Shop, disk: _Disk) -> None:
    """From a disk on which not a byte can be written to one on which all goes well."""
    ended: list[int] = []
    for kilobytes in (0, 4, 8, 16, 32, 64, 128, 256, 384, 512, 640, 768, 896, 1024, 1536, 2048):
        before = shop.data.current_id()
        shop.change("discs 3", price=kilobytes)
        disk.leave(kilobytes * 1000)
        done = shop.build("--keep", 1)
        ended.append(done.status)
        if done.status:
            _failed(done, "storage")
            assert shop.data.current_id() == before
        assert _verified(shop) == shop.data.current_id()
    assert set(ended) == {0, 1}
    assert (ended[:3], ended[-2:]) == ([1] * 3, [0] * 2)
    disk.make_room()
    done = _good(shop.build())
    assert (done.json["embedded"], done.json["items"]) == (0, 36)
    assert [path.name for path in shop.data.snapshots.iterdir()] == [shop.data.current_id()]


def test_a_first_build_on_a_full_disk(disk: _Disk, quick_stages_called: list[str], tmp_path: Path) -> None:
    shop = Shop(tmp_path / "shop", data=disk.root / "data").draw(side=40)
    disk.leave(0)
    _failed(shop.first_build(), "storage")
    assert not shop.data.current.exists()
    disk.make_room()
    _good(shop.first_build())


def test_a_data_directory_that_can_not_be_written_is_still_read(shop: Shop, disk: _Disk) -> None:
    first = shop.data.current_id()
    _good(shop.build())
    disk.remount("ro")
    try:
        shop.change("discs 3", price=99)
        for done in (shop.build(), shop.run("rollback"), shop.run("cache", "prune")):
            message = _failed(done, "storage")
            assert message.startswith(f"the data directory {shop.data.root} can't be written: Read-only file system")
        assert _verified(shop) == shop.data.current_id()
        assert len(shop.run("snapshots").json["snapshots"]) == 2
        assert len(shop.run("diff", first).json["changes"]["added"]) == 24
        told = shop.build("--dry-run")
        assert (told.status, told.json["images_to_embed"], told.json["changes"]["described"]) == (0, 0, ["discs 3"])

        app = make_app(ServiceSettings(data=shop.data.root, poll_s=3600))
        client = app.test_client()
        assert client.get("/readyz").json == {"status": "ready", "snapshot_id": shop.data.current_id()}
        answer = client.post("/v1/search", json={"item_id": "discs 3", "top_k": 5})
        assert (answer.status_code, answer.json["hits"][0]["item_id"]) == (200, "discs 3")
    finally:
        subprocess.run(["umount", "-l", disk.root], check=True)  # the service has it open
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", disk.root], check=True)


# Damage


def _truncate(content: bytes) -> bytes:
    return content[: len(content) // 2]


def _flip(content: bytes) -> bytes:
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :]


_FILES = (
    "manifest.json",
    "embedder.tflite",
    "classifier.npz",
    "classifier.folds.npz",
    "folds.npz",
    "items.sqlite",
    "partitions/discs.faiss",
    "partitions/discs.rows.npy",
    "report/skipped.jsonl",
)


@pytest.mark.parametrize("damage", [_truncate, _flip])
@pytest.mark.parametrize("name", _FILES)
def test_a_damaged_file_of_a_snapshot_is_named_and_the_next_build_heals_it(
    quick_shop: Shop, name: str, damage: Callable[[bytes], bytes]
) -> None:
    (quick_shop.root / "stripes-11.png").write_bytes(b"no picture")  # so that there is something to report
    _good(quick_shop.build("--keep", 9))
    before, wanted = quick_shop.data.current_id(), quick_shop.hits()
    path = quick_shop.current().root / name
    path.write_bytes(damage(path.read_bytes()))
    assert str(path) in _failed(quick_shop.run("verify"), "bad_snapshot")
    done = _good(quick_shop.build("--keep", 9))
    assert "nothing of the published snapshot is reused" in done.err
    assert done.json["snapshot_id"] == _verified(quick_shop) > before
    assert done.json["embedded"] == 0
    assert quick_shop.hits() == wanted
    # The damaged one is not the way back; the one before it is.
    assert str(path) in _failed(quick_shop.run("rollback"), "bad_snapshot")
    assert quick_shop.data.current_id() == done.json["snapshot_id"]


@pytest.mark.parametrize("name", _FILES)
def test_a_missing_file_of_a_snapshot_is_named_and_the_next_build_heals_it(quick_shop: Shop, name: str) -> None:
    wanted = quick_shop.hits()
    path = quick_shop.current().root / name
    path.unlink()
    done = quick_shop.run("verify")
    assert done.status == 1
    assert (str(path) if name != "manifest.json" else path.parent.name) in done.err
    _good(quick_shop.build())
    _verified(quick_shop)
    assert quick_shop.hits() == wanted


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"gone\n", b"\n"])
@pytest.mark.parametrize("name", ["current", "published"])
def test_damage_of_the_small_files_is_healed_by_the_next_build(quick_shop: Shop, name: str, content: bytes) -> None:
    wanted = quick_shop.hits()
    (quick_shop.data.root / name).write_bytes(content)
    quick_shop.change("discs 3", price=99)
    _good(quick_shop.build())
    _verified(quick_shop)
    assert quick_shop.hits() == wanted
    assert len(quick_shop.run("snapshots").json["snapshots"]) >= 1


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_damaged_settings_are_said(quick_shop: Shop, content: bytes) -> None:
    quick_shop.data.build_settings.write_bytes(content)
    assert "build.json" in _failed(quick_shop.build(), "invalid_setting", status=2)


def _cache_with_a_log(shop: Shop) -> None:
    """The cache as a killed build leaves it: half of it in SQLite's write-ahead log."""
    shop.data.cache.unlink()
    copy = shop.data.cache.with_name("copy")
    copy.mkdir()
    put = embedding_cache.EmbeddingCache.close

    def copy_first(cache: embedding_cache.EmbeddingCache) -> None:
        cache.commit()
        for file in list(shop.data.cache.parent.glob("embeddings.sqlite*")):
            shutil.copy(file, copy / file.name)
        put(cache)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding_cache.EmbeddingCache, "close", copy_first)
        _good(shop.build("--retrain"))
    for file in copy.iterdir():
        file.replace(shop.data.cache.parent / file.name)
    copy.rmdir()


@pytest.mark.parametrize(
    ("name", "keep"),
    [
        *(("embeddings.sqlite", keep) for keep in (0.0, 0.001, 0.5, 0.99)),
        *(("embeddings.sqlite-wal", keep) for keep in (0.0, 0.001, 0.5, 0.99)),
        ("embeddings.sqlite-shm", 0.0),
        ("embeddings.sqlite-shm", 0.5),
    ],
)
def test_a_truncated_cache_is_healed(quick_shop: Shop, tmp_path: Path, name: str, keep: float) -> None:
    _cache_with_a_log(quick_shop)
    path = quick_shop.data.cache.with_name(name)
    os.truncate(path, int(keep * path.stat().st_size))
    _is_healed(quick_shop, tmp_path)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", ["embeddings.sqlite", "embeddings.sqlite-wal", "embeddings.sqlite-shm"])
def test_a_cache_with_flipped_bits_is_healed(quick_shop: Shop, tmp_path: Path, name: str, seed: int) -> None:
    """One bit at first, then ten, a hundred, …"""
    _cache_with_a_log(quick_shop)
    path = quick_shop.data.cache.with_name(name)
    content = np.frombuffer(path.read_bytes(), dtype=np.uint8).copy()
    random = np.random.default_rng(seed)
    places = random.integers(0, len(content), 10**seed)
    content[places] ^= (1 << random.integers(0, 8, len(places))).astype(np.uint8)
    path.write_bytes(content.tobytes())
    _is_healed(quick_shop, tmp_path)


def _is_healed(shop: Shop, tmp_path: Path) -> None:
    """A build that needs all of the cache gives what one without any gives, and the one after it needs nothing."""
    dry = shop.build("--dry-run")
    assert dry.status == 0 or dry.json["error"]["code"] == "storage", dry.err
    _good(shop.build("--index-views", "all", "--retrain"))
    _verified(shop)
    fresh = Shop(shop.root, data=tmp_path / "fresh")
    _good(fresh.first_build("--index-views", "all"))
    assert shop.hits() == fresh.hits()
    assert _good(shop.build()).json["embedded"] == 0


# A catalogue that changes while it is read


class _Vandal:
    """Replaces, removes, half-writes and puts back the pictures of a shop until it is told to stop."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop
        self._pictures = sorted(shop.root.glob("*.png"))
        self._contents = [path.read_bytes() for path in self._pictures]
        self._random = np.random.default_rng(7)
        self._ended = threading.Event()
        self.changes = 0

    def run(self) -> None:
        while not self._ended.is_set():
            path = self._pictures[self._random.integers(6)]  # few, so that they don't add up to too many bad ones
            content = self._contents[self._random.integers(len(self._contents))]
            change = self._random.integers(5)
            if change == 0:
                path.unlink(missing_ok=True)
            elif change == 1:
                path.write_bytes(content[: self._random.integers(len(content))])
            elif change == 2:
                beside = path.with_suffix(".new")
                beside.write_bytes(content)
                beside.replace(path)
            elif change == 3 and path.exists():
                os.utime(path, (0, int(self._random.integers(10**9))))
            else:
                path.write_bytes(content)
            self.changes += 1
            time.sleep(0.0005)

    def __enter__(self) -> "_Vandal":
        self._thread = threading.Thread(target=self.run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        for path in self._pictures:
            if not path.exists():
                path.write_bytes(self._contents[0])


def test_a_catalogue_that_changes_while_it_is_read(quick_shop: Shop, tmp_path: Path) -> None:
    ended: list[str] = []
    with _Vandal(quick_shop) as vandal:
        for number in range(16):
            options: list[object] = [*(["--rehash"] * (number % 2)), *(["--index-views", "all"] * (number % 4 > 1))]
            if number % 8 == 7:
                shutil.rmtree(quick_shop.data.cache.parent)
            done = quick_shop.build("--max-bad", 0.5, *options)
            if done.status:
                assert "build again" in _failed(done, "invalid_catalogue", status=2)
            _verified(quick_shop)
            ended.append("again" if done.status else str(done.json["skipped"]))
    print(f"{vandal.changes} changes; builds with so many left out: {sorted(ended)}")
    assert vandal.changes > 100
    assert len(set(ended)) > 1
    _good(quick_shop.build("--max-bad", 1, "--index-views", "original"))
    _is_as_from_scratch(quick_shop, tmp_path / "fresh")


def test_a_picture_that_changes_at_once_after_it_was_read_is_read_again(quick_shop: Shop, tmp_path: Path) -> None:
    """The same size, and a time of change that may be the very same: only that it was recent gives it away."""
    path = quick_shop.root / "discs-3.png"
    contents = [(quick_shop.root / f"discs-{number}.png").read_bytes() for number in (3, 5)]
    for number in range(3):
        path.write_bytes(contents[number % 2])
        status = path.stat()
        _good(quick_shop.build())
        path.write_bytes(contents[(number + 1) % 2])
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        _good(quick_shop.build())
        _is_as_from_scratch(quick_shop, tmp_path / "fresh")


# The clock

_AT = """
import datetime, sys, time

offset = float(sys.argv[1])
real_datetime, real_time, real_ns = datetime.datetime, time.time, time.time_ns

class Clock(real_datetime):
    @classmethod
    def now(cls, tz=None):
        return real_datetime.now(tz) + datetime.timedelta(seconds=offset)

datetime.datetime = Clock
time.time = lambda: real_time() + offset
time.time_ns = lambda: real_ns() + int(offset * 1e9)
sys.path.insert(0, sys.argv[2])
from tests.support.builders import quick_stages
quick_stages.install()
from indexer.__main__ import main
sys.exit(main(sys.argv[3:]))
"""


def _run_at(ago: timedelta, *arguments: object) -> dict[str, Any]:
    """A command in a process whose clock is behind by so much."""
    command = [sys.executable, "-c", _AT, str(-ago.total_seconds()), str(_ROOT), *map(str, arguments)]
    done = subprocess.run([*command, "--json"], cwd=_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_a_clock_that_goes_back_between_builds(quick_shop: Shop) -> None:
    """By a second, an hour, ten days, and on again."""
    data = quick_shop.data
    ids = [data.current_id()]
    ago = [timedelta(seconds=1), timedelta(hours=1), timedelta(days=10), timedelta(minutes=5)]
    for price, behind in enumerate(ago):
        quick_shop.change("discs 3", price=1000 + price)
        built = _run_at(behind, "build", "--data", data.root, "--keep", 3)
        assert (built["published"], built["embedded"]) == (True, 0)
        ids.append(built["snapshot_id"])
        assert data.current_id() == ids[-1]
        assert data.ids() == ids[-3:]  # retention goes by the order of building, and so the id's
    assert ids == sorted(ids)
    listed = _run_at(ago[2], "snapshots", "--data", data.root)["snapshots"]
    assert [one["state"] for one in listed] == ["published", "published", "current"]
    assert listed[1]["created_at"] < listed[0]["created_at"]  # the clock's own word
    assert _run_at(ago[2], "rollback", "--data", data.root)["snapshot_id"] == ids[-2]
    assert _run_at(ago[2], "cache", "prune", "--data", data.root)["dropped"] == 0
    quick_shop.change("discs 3", price=1)
    assert quick_shop.build().json["snapshot_id"] > ids[-1]
    _verified(quick_shop)
