"""Pruning by age and by size, that the space is given back, and what can't be pruned."""

import hashlib
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from indexer.embedding.cache import EmbeddingCache
from indexer.embedding.prune_cache import Pruned, prune_cache
from indexer.snapshots.writer_lock import writer_lock
from shared.errors import StorageError
from tests.support.builders.shop import Shop

_DAY_S = 86_400


def _digest(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def _open(path: Path, recipe: str = "r") -> closing[EmbeddingCache]:
    return closing(EmbeddingCache(path, recipe, 1, print))


def _left(path: Path, count: int, recipe: str = "r") -> list[int]:
    """The numbers of those that are there and as they were put."""
    with _open(path, recipe) as cache:
        found = {number: cache.views(_digest(number)) for number in range(count)}
    assert all(views is None or (views == number).all() for number, views in found.items())
    return [number for number, views in found.items() if views is not None]


def _sql(path: Path, statement: str, *values: object) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as connection, connection:
        return connection.execute(statement, values).fetchall()


def _fill(path: Path, count: int, recipe: str = "r", dim: int = 16) -> None:
    """Put so many; number n was used n days ago."""
    status: Any = SimpleNamespace(st_size=1, st_mtime_ns=0)
    with _open(path, recipe) as cache:
        for number in range(count):
            cache.put(_digest(number), np.full((1, dim), number, np.float32))
            cache.remember_file(f"{number}.png", status, _digest(number))
    select = "(SELECT number FROM recipes WHERE recipe = ?)"
    update = f"UPDATE entries SET used_at = ? WHERE digest = ? AND recipe = {select}"
    now = int(time.time()) - 60
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(update, [(now - number * _DAY_S, _digest(number), recipe) for number in range(count)])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "embeddings.sqlite"


@pytest.mark.parametrize(("keep_days", "left"), [(100, 10), (7, 7), (0.5, 1), (0, 0)])
def test_what_was_not_used_for_long_goes(path: Path, keep_days: float, left: int) -> None:
    _fill(path, 10)
    pruned = prune_cache(path, keep_days)
    assert (pruned.dropped, pruned.left) == (10 - left, left)
    assert _left(path, 10) == list(range(left))
    assert _sql(path, "SELECT path FROM files ORDER BY path") == [(f"{number}.png",) for number in range(left)]
    for table in ("entries", "views"):
        assert _sql(path, f"SELECT count(*) FROM {table}") == [(left,)]


def test_what_is_used_again_stays(path: Path) -> None:
    _fill(path, 10)
    with _open(path) as cache:
        cache.mark_used([_digest(8)])
    prune_cache(path, 3)
    assert _left(path, 10) == [0, 1, 2, 8]


def test_the_longest_unused_go_until_it_fits(path: Path) -> None:
    _fill(path, 400, dim=1280)
    full = prune_cache(path, 10_000)
    assert (full.dropped, full.left) == (0, 400)
    assert full.bytes == path.stat().st_size > 400 * 1280 * 4
    pruned = prune_cache(path, 10_000, full.bytes // 2)
    assert pruned.bytes <= full.bytes // 2
    assert 170 < pruned.left < 200
    assert pruned.dropped == 400 - pruned.left
    assert _left(path, 400) == list(range(pruned.left))


def test_both_bounds_hold(path: Path) -> None:
    _fill(path, 100, dim=1280)
    size = prune_cache(path, 10_000).bytes
    pruned = prune_cache(path, 80, size // 2)
    assert 30 < pruned.left < 50
    assert prune_cache(path, 20, size // 2).left == 20


def test_a_bound_that_nothing_fits_into_drops_all(path: Path) -> None:
    _fill(path, 10)
    pruned = prune_cache(path, 10_000, 0)
    assert (pruned.dropped, pruned.left) == (10, 0)
    assert prune_cache(path, 10_000, 0).dropped == 0
    _fill(path, 10)
    assert _left(path, 10) == list(range(10))


def test_the_space_goes_back_to_the_file_system(path: Path) -> None:
    _fill(path, 400, dim=1280)
    before = sum(file.stat().st_size for file in path.parent.iterdir())
    pruned = prune_cache(path, 39)
    after = sum(file.stat().st_size for file in path.parent.iterdir())
    assert pruned.left == 39
    assert after < before / 5
    assert path.stat().st_size == pruned.bytes


def test_recipes_are_pruned_alike(path: Path) -> None:
    """An image that another recipe uses keeps its file's digest."""
    _fill(path, 4, "old")
    _fill(path, 6, "new")
    assert prune_cache(path, 2.5).dropped == 1 + 3
    assert (_left(path, 6, "old"), _left(path, 6, "new")) == ([0, 1, 2], [0, 1, 2])
    with _open(path, "new") as cache:
        cache.mark_used([_digest(2)])
    assert prune_cache(path, 1.5).dropped == 1
    assert _left(path, 6, "new") == [0, 1, 2]
    assert _sql(path, "SELECT count(*) FROM files") == [(3,)]


def test_nothing_is_begun(path: Path) -> None:
    assert prune_cache(path, 1) == Pruned(0, 0, 0)
    assert not path.parent.exists()


def test_garbage_is_said_and_left(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b"garbage " * 1000)
    with pytest.raises(StorageError, match=r"embeddings\.sqlite can't be pruned: file is not a database"):
        prune_cache(path, 1)
    assert path.read_bytes() == b"garbage " * 1000


# The command


def test_a_pruned_cache_serves_the_next_build(quick_shop: Shop) -> None:
    size = quick_shop.data.cache.stat().st_size
    _sql(quick_shop.data.cache, "UPDATE entries SET used_at = used_at - 40 * 86400 WHERE number % 2")
    done = quick_shop.run("cache", "prune")
    assert (done.status, done.json) == (0, {"dropped": 18, "left": 18, "bytes": done.json["bytes"]})
    assert "18 entries dropped, 18 left in" in done.err
    assert done.json["bytes"] <= size
    found = quick_shop.hits()
    done = quick_shop.build()  # what is published needs no embeddings, but the cache is filled up again
    assert (done.status, done.json["embedded"]) == (0, 36)
    assert quick_shop.hits() == found
    assert quick_shop.build().json["embedded"] == 0


def test_the_command_waits_for_no_build(quick_shop: Shop) -> None:
    with writer_lock(quick_shop.data):
        done = quick_shop.run("cache", "prune", "--keep-days", 0)
    assert (done.status, done.json["error"]["code"]) == (1, "busy")
    assert quick_shop.run("cache", "prune", "--keep-days", 1, "--max-bytes", 10**9).json["dropped"] == 0


def test_without_a_cache_the_command_says_so(tmp_path: Path) -> None:
    done = Shop(tmp_path, data=tmp_path / "nothing").run("cache", "prune")
    assert (done.status, done.json["error"]["code"]) == (2, "no_snapshot")
    assert not (tmp_path / "nothing").exists()
