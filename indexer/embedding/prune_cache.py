"""Removal of old entries from the embedding cache."""

import math
import sqlite3
import time
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shared.errors import StorageError

_OLDEST = "SELECT number FROM entries ORDER BY used_at, number LIMIT ?"


@dataclass(frozen=True)
class Pruned:
    """The result of pruning; an entry is an image with its views, by one recipe.

    Attributes:
        dropped: entries removed.
        left: entries kept.
        bytes: size of the cache now.
    """

    dropped: int
    left: int
    bytes: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def prune_cache(path: Path, keep_days: float, max_bytes: int | None = None) -> Pruned:
    """Remove entries that no build has used for `keep_days`, then the least recently used beyond `max_bytes`.

    The space goes back to the file system. Call it under the writer lock.

    Args:
        path: the database.
        keep_days: days since the last use, which builds record to the day.
        max_bytes: the largest size to keep; None for no limit.

    Raises:
        StorageError: the database is damaged or locked.
    """
    if not path.exists():
        return Pruned(0, 0, 0)
    try:
        with closing(sqlite3.connect(path)) as connection:
            return _prune(connection, int(time.time() - keep_days * 86_400), max_bytes)
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter if a message quotes damaged text
        raise StorageError(f"the embedding cache {path} can't be pruned: {error}") from error


def _prune(connection: sqlite3.Connection, used_since: int, max_bytes: int | None) -> Pruned:
    before = _count(connection)
    with connection:
        old = "SELECT number FROM entries WHERE used_at < ?"
        connection.execute(f"DELETE FROM views WHERE number IN ({old})", (used_since,))  # noqa: S608
        connection.execute("DELETE FROM entries WHERE used_at < ?", (used_since,))
    while max_bytes is not None and (used := _used_bytes(connection)) > max_bytes and (left := _count(connection)):
        batch = math.ceil((used - max_bytes) / used * left)
        with connection:
            connection.execute(f"DELETE FROM views WHERE number IN ({_OLDEST})", (batch,))  # noqa: S608
            connection.execute(f"DELETE FROM entries WHERE number IN ({_OLDEST})", (batch,))  # noqa: S608
    with connection:
        connection.execute("DELETE FROM files WHERE digest NOT IN (SELECT digest FROM entries)")
    connection.executescript("PRAGMA incremental_vacuum")  # `execute` takes one step, which frees one page
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    left = _count(connection)
    return Pruned(before - left, left, _used_bytes(connection))


def _count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM entries").fetchone()[0])


def _used_bytes(connection: sqlite3.Connection) -> int:
    pages, free, size = (
        connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)
