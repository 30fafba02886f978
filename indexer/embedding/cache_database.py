"""The SQLite database of the embedding cache: opening, locking, committing, and recovery from damage.

WAL mode survives a kill at any moment: everything committed, at least once a second, stays. A database that is damaged
beyond single rows is set aside and replaced by an empty one.
"""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from indexer.files.durable_write import storage_error

_COMMIT_S = 1.0
# Our statements are right, so an error in a schema or an index means damage.
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
    """The database has another format version, or its recipes are damaged; treated like a damaged file."""

    sqlite_errorcode = sqlite3.SQLITE_NOTADB


class CacheDatabase:
    """A connection shared by all threads of one process, for one recipe.

    Attributes:
        recipe_number: the key of the recipe in the database; -1 if a read-only database does not have it.
    """

    def __init__(self, path: Path, recipe: str, say: Callable[[str], None], read_only: bool) -> None:
        """Open the database, or create it.

        Args:
            path: the file; must exist if `read_only`.
            recipe: the text in its table of recipes; added unless `read_only`.
            say: receives a message if the database was damaged.
            read_only: change nothing.

        Raises:
            StorageError: it can't be opened, or is damaged and `read_only`.
        """
        self._path = path
        self._recipe = recipe
        self._say = say
        self._read_only = read_only
        self._lock = threading.Lock()
        self.recipe_number = -1
        try:
            self._open()
        except _DATABASE_ERRORS as error:
            self._replace_damaged(error)

    def fetch(self, sql: str, values: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Return the first row of a query; None if there is none."""
        with self._recovering():
            row: tuple[Any, ...] | None = self._connection.execute(sql, values).fetchone()
            return row
        return None

    def write(self, *statements: tuple[str, tuple[Any, ...]]) -> None:
        """Execute statements in one transaction, and commit at most once a second."""
        with self._recovering():
            for sql, values in statements:
                self._connection.execute(sql, values)
            if time.monotonic() - self._committed > _COMMIT_S:
                self._commit()

    def write_many(self, sql: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Execute a statement for many rows, and commit."""
        with self._recovering(), self._connection:
            self._connection.executemany(sql, rows)

    def commit(self) -> None:
        """Make everything written so far survive a kill."""
        with self._recovering():
            self._commit()

    def close(self) -> None:
        """Commit and close."""
        try:
            self.commit()
        finally:
            self._connection.close()

    def _commit(self) -> None:
        self._connection.commit()
        self._committed = time.monotonic()

    def _open(self) -> None:
        if not self._read_only:
            self._path.parent.mkdir(parents=True, exist_ok=True)
        uri = f"{self._path.resolve().as_uri()}?mode={self._mode()}"
        self._connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
        self._connection.text_factory = bytes  # a flipped bit makes text of bytes, which need not be valid
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        (n_tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if n_tables and version != _VERSION:
            raise _Unusable(f"it has format version {version}; this version of Parecido uses {_VERSION}")
        if not self._read_only:
            self._connection.executescript(_SCHEMA)
            self._connection.execute("PRAGMA synchronous = NORMAL")
            with self._connection:
                self._connection.execute("INSERT OR IGNORE INTO recipes (recipe) VALUES (?)", (self._recipe,))
        select = "SELECT number FROM recipes WHERE recipe = ?"
        row = self._connection.execute(select, (self._recipe,)).fetchone()
        if row is not None and not isinstance(row[0], int):
            raise _Unusable("its recipes are damaged")
        self.recipe_number = -1 if row is None else row[0]
        self._committed = time.monotonic()

    def _mode(self) -> str:
        """SQLite's mode of opening; without a write-ahead log beside the file, reading must not create one."""
        if not self._read_only:
            return "rwc"
        return "ro" if self._path.with_name(f"{self._path.name}-wal").exists() else "ro&immutable=1"

    @contextmanager
    def _recovering(self) -> Iterator[None]:
        """Hold the lock; on damage, continue with an empty database."""
        with self._lock:
            try:
                yield
            except _DATABASE_ERRORS as error:
                self._replace_damaged(error)

    def _replace_damaged(self, error: sqlite3.DatabaseError | UnicodeDecodeError) -> None:
        """Set a damaged database aside and create an empty one; a lock or a full disk is an error of the caller's."""
        if self._read_only or not _is_damage(error):
            raise storage_error(f"the embedding cache {self._path} can't be used", self._path.parent, error) from error
        self._connection.close()
        aside = self._path.with_name(f"{self._path.name}.damaged")
        self._path.replace(aside)
        for suffix in ("-wal", "-shm"):
            self._path.with_name(self._path.name + suffix).unlink(missing_ok=True)
        self._say(
            f"the embedding cache {self._path} can't be used ({error}): set aside as {aside.name}, replaced by an"
            " empty one"
        )
        self._open()


def _is_damage(error: sqlite3.DatabaseError | UnicodeDecodeError) -> bool:
    if isinstance(error, UnicodeDecodeError):
        return True
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE) & 0xFF in _DAMAGE
