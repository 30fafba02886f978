"""`DATA/cache/embeddings.sqlite`: what was embedded before, by content, so that only what changed is embedded again.

An entry is found by the SHA-256 of an image file and the *recipe* that its views were made by (embedder, preprocessing,
augmentation). A second table remembers each file's path, size and time of change with that digest, so that a file that
can't have changed isn't read again.

SQLite in WAL mode takes a kill at any moment: what was committed, at least once a second, stays. Each row has a
checksum of its own, also over what it is found by; a damaged one counts as missing, so its image is embedded again. A
database that is damaged as a whole is set aside and begun anew. What is asked and noted of every image in every build
lies in narrow rows apart from the embeddings, so that a build without changes neither reads nor writes these.
"""

import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from indexer.files.durable_write import storage_error
from indexer.files.location import FileStatus
from shared.vectors import Vectors

_COMMIT_S = 1.0
_USED_TO_S = 86_400
# A file that changed this shortly before it was read may change again without its time of change showing it.
UNSETTLED_NS = 2_000_000_000
# Our statements are right, so what a schema or an index can't carry out is damaged.
_DAMAGE = (
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
)
# Where SQLite's message quotes damaged text, Python can't decode the message.
_DATABASE_ERRORS = (sqlite3.DatabaseError, UnicodeDecodeError)
_VERSION = 3
_SCHEMA = f"""
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
CREATE TABLE IF NOT EXISTS recipes (number INTEGER PRIMARY KEY, recipe TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS entries (
    number INTEGER PRIMARY KEY, recipe INTEGER NOT NULL, digest BLOB NOT NULL, used_at INTEGER NOT NULL,
    UNIQUE (recipe, digest));
CREATE TABLE IF NOT EXISTS views (number INTEGER PRIMARY KEY, checksum INTEGER NOT NULL, views BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS files (
    path TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, digest BLOB NOT NULL,
    checksum INTEGER NOT NULL) WITHOUT ROWID;
PRAGMA user_version = {_VERSION};
"""


class _Unusable(sqlite3.DatabaseError):
    """A cache that another version of Parecido made, or whose recipes are damaged; as good as no database."""

    sqlite_errorcode = sqlite3.SQLITE_NOTADB


class EmbeddingCache:
    """One recipe's view of the cache; safe to call from any thread, in one process at a time.

    Attributes:
        recipe: names everything that embeddings depend on besides an image's bytes.
        n_put: how many images' embeddings were put into it since it was opened.
    """

    def __init__(
        self, path: Path, recipe: str, n_views: int, say: Callable[[str], None], read_only: bool = False
    ) -> None:
        """Open the cache, or begin it.

        Args:
            path: the database.
            recipe: names everything that embeddings depend on besides an image's bytes.
            n_views: views an image.
            say: takes a line for a person where something was damaged.
            read_only: change nothing; there has to be a cache.

        Raises:
            StorageError: it can't be opened; with `read_only` also where it is damaged.
        """
        self._path = path
        self._n_views = n_views
        self._say = say
        self._lock = threading.Lock()
        self._damaged = 0
        self.n_put = 0
        self.recipe = recipe
        self._read_only = read_only
        try:
            self._open()
        except _DATABASE_ERRORS as error:
            self._begin_anew(error)

    def known_digest(self, path: str, status: FileStatus) -> bytes | None:
        """The SHA-256 of a file that can't have changed since it was last read; None where that isn't sure."""
        found = self._fetch("SELECT size, mtime_ns, digest, checksum FROM files WHERE path = ?", (path,))
        if found is None or (found[0], found[1]) != (status.st_size, status.st_mtime_ns):
            return None
        digest = found[2]
        return digest if isinstance(digest, bytes) and _file_checksum(path, status, digest) == found[3] else None

    def last_digest(self, path: str) -> bytes | None:
        """The SHA-256 that a file had when it was last read; None where it never was."""
        found = self._fetch("SELECT size, mtime_ns, digest, checksum FROM files WHERE path = ?", (path,))
        if found is None or not isinstance(found[2], bytes):
            return None
        return found[2] if _file_checksum(path, FileStatus(*found[:2]), found[2]) == found[3] else None

    def remember_file(self, path: str, status: FileStatus, digest: bytes) -> None:
        """Remember the SHA-256 of a file; `status` was taken before it was read."""
        if time.time_ns() - status.st_mtime_ns > UNSETTLED_NS:
            values = (path, status.st_size, status.st_mtime_ns, digest, _file_checksum(path, status, digest))
            self._write(("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", values))

    def has(self, digest: bytes) -> bool:
        """Whether an image was embedded before; whether its embeddings are undamaged shows when they are read."""
        return self._number(digest) is not None

    def views(self, digest: bytes) -> Vectors | None:
        """What was embedded of an image, `(n_views, dim)` float32; None where there is nothing, or it is damaged."""
        number = self._number(digest)
        if number is None:
            return None
        found = self._fetch("SELECT checksum, views FROM views WHERE number = ?", (number,))
        if found is None or not self._is_whole(digest, *found):
            self._write(
                ("DELETE FROM entries WHERE number = ?", (number,)), ("DELETE FROM views WHERE number = ?", (number,))
            )
            self._damaged += 1
            return None
        return np.frombuffer(found[1], dtype=np.float32).reshape(self._n_views, -1)

    def put(self, digest: bytes, views: Vectors, is_new: bool = True) -> None:
        """Keep what was embedded of an image, `(n_views, dim)` float32; by this build, if `is_new`."""
        data = np.ascontiguousarray(views, dtype=np.float32).tobytes()
        name = (self._recipe, digest)
        self.n_put += is_new
        self._write(
            (
                "INSERT INTO entries (recipe, digest, used_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (*name, int(time.time())),
            ),
            (
                "INSERT OR REPLACE INTO views SELECT number, ?, ? FROM entries WHERE recipe = ? AND digest = ?",
                (self._checksum(digest, data), data, *name),
            ),
        )

    def mark_used(self, digests: Iterable[bytes]) -> None:
        """Note, to the day, that these images are in the catalogue still: `prune` keeps what was used last."""
        update = "UPDATE entries SET used_at = ? WHERE recipe = ? AND digest = ? AND used_at < ?"
        now = int(time.time())
        values = ((now, self._recipe, digest, now - _USED_TO_S) for digest in digests)
        with self._lock, self._damage_begins_anew(), self._connection:
            self._connection.executemany(update, values)

    def commit(self) -> None:
        """See to it that a kill takes nothing of what was put so far."""
        with self._lock, self._damage_begins_anew():
            self._connection.commit()
            self._committed = time.monotonic()

    def close(self) -> None:
        """Commit and close; says so where entries were damaged."""
        with self._lock:
            try:
                with self._damage_begins_anew():
                    self._connection.commit()
            finally:
                self._connection.close()
        if self._damaged:
            self._say(f"{self._damaged} damaged entries of {self._path} were embedded again")

    def _open(self) -> None:
        if not self._read_only:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        uri = f"{self._path.resolve().as_uri()}?mode={self._mode()}"
        self._connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
        self._connection.text_factory = bytes  # a flipped bit makes text of bytes, which need not be valid
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and version != _VERSION:
            raise _Unusable(f"it has format version {version}; this version of Parecido uses {_VERSION}")
        if not self._read_only:
            self._connection.executescript(_SCHEMA)
            self._connection.execute("PRAGMA synchronous = NORMAL")
            with self._connection:
                self._connection.execute("INSERT OR IGNORE INTO recipes (recipe) VALUES (?)", (self.recipe,))
        select = "SELECT number FROM recipes WHERE recipe = ?"
        found = self._connection.execute(select, (self.recipe,)).fetchone()
        if found is not None and not isinstance(found[0], int):
            raise _Unusable("its recipes are damaged")
        self._recipe = -1 if found is None else found[0]
        self._committed = time.monotonic()

    def _mode(self) -> str:
        """Of opening. While no build has it open, there is no log beside it, and reading would make one."""
        if not self._read_only:
            return "rwc"
        return "ro" if self._path.with_name(f"{self._path.name}-wal").exists() else "ro&immutable=1"

    def _number(self, digest: bytes) -> int | None:
        select = "SELECT number FROM entries WHERE recipe = ? AND digest = ?"
        found = self._fetch(select, (self._recipe, digest))
        return found[0] if found is not None and isinstance(found[0], int) else None

    def _checksum(self, digest: bytes, data: bytes) -> int:
        return zlib.crc32(data, zlib.crc32(digest, zlib.crc32(self.recipe.encode())))

    def _is_whole(self, digest: bytes, checksum: object, data: object) -> bool:
        if not isinstance(data, bytes) or len(data) % (4 * self._n_views):
            return False
        return self._checksum(digest, data) == checksum

    @contextmanager
    def _damage_begins_anew(self) -> Iterator[None]:
        try:
            yield
        except _DATABASE_ERRORS as error:
            self._begin_anew(error)

    def _begin_anew(self, error: sqlite3.DatabaseError | UnicodeDecodeError) -> None:
        """Set a damaged database aside; a lock or a full disk is no damage and goes on to the caller."""
        if self._read_only or not _is_damage(error):
            raise storage_error(f"the embedding cache {self._path} can't be used", self._path.parent, error) from error
        self._connection.close()
        aside = self._path.with_name(f"{self._path.name}.damaged")
        self._path.replace(aside)
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        self._say(f"the embedding cache {self._path} can't be used ({error}): set aside as {aside.name}, begun anew")
        self._open()

    def _fetch(self, sql: str, values: tuple[Any, ...]) -> tuple[Any, ...] | None:
        with self._lock, self._damage_begins_anew():
            found: tuple[Any, ...] | None = self._connection.execute(sql, values).fetchone()
            return found
        return None

    def _write(self, *statements: tuple[str, tuple[Any, ...]]) -> None:
        with self._lock, self._damage_begins_anew():
            for sql, values in statements:
                self._connection.execute(sql, values)
            if time.monotonic() - self._committed > _COMMIT_S:
                self._connection.commit()
                self._committed = time.monotonic()


def _file_checksum(path: str, status: FileStatus, digest: bytes) -> int:
    return zlib.crc32(f"{path} {status.st_size} {status.st_mtime_ns}".encode() + digest)


def _is_damage(error: sqlite3.DatabaseError | UnicodeDecodeError) -> bool:
    if isinstance(error, UnicodeDecodeError):
        return True
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE) & 0xFF in _DAMAGE
