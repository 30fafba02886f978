"""Read-only connections to a database, one per thread, with time limits and one error for damaged files."""

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared.database.read_only import open_read_only
from shared.deadline import NO_DEADLINE, Deadline
from shared.errors import DamagedSnapshot

_log = logging.getLogger(__name__)

QUERY_TIMEOUT_S = 10.0
"""Far more than any statement of a request takes."""


class Connections:
    """Connections that are opened on demand; safe to use from any number of threads."""

    def __init__(self, path: Path, schemas: tuple[str, ...], content: str) -> None:
        """Prepare; no connection is opened yet.

        Args:
            path: of the file.
            schemas: scripts of which one has created it.
            content: what the database holds, for messages.
        """
        self._path = path
        self._schemas = schemas
        self._content = content
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []

    def connection(self) -> sqlite3.Connection:
        """This thread's connection.

        Raises:
            SnapshotError, sqlite3.Error, OSError: as `open_read_only`.
        """
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = open_read_only(self._path, self._schemas, self._is_over)
            self._local.connection = connection
            self._connections.append(connection)
        return connection

    def execute(self, sql: str) -> sqlite3.Cursor:
        """Execute a statement on this thread's connection."""
        return self.connection().execute(sql)

    def query(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        """Fetch all rows of a statement of a request.

        Raises:
            DamagedSnapshot: the file is damaged.
        """
        with self.request():
            return self.connection().execute(sql, values).fetchall()

    @contextmanager
    def request(self) -> Iterator[None]:
        """Run statements of a request: with a time limit, and with `errors`."""
        with self.errors(), self.until(Deadline.after(QUERY_TIMEOUT_S)):
            yield

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raise `DamagedSnapshot` for any exception that damaged bytes may cause."""
        try:
            yield
        except UnicodeEncodeError:  # caused by the caller's value
            raise
        except (sqlite3.Error, ValueError, KeyError, IndexError, TypeError, OverflowError, RecursionError) as error:
            _log.error("%s is damaged", self._path, exc_info=error)
            raise DamagedSnapshot(f"the snapshot's {self._content} can't be read: {type(error).__name__}") from error

    @contextmanager
    def until(self, deadline: Deadline) -> Iterator[None]:
        """Interrupt this thread's statements at the deadline."""
        self._local.deadline = deadline
        try:
            yield
        finally:
            self._local.deadline = NO_DEADLINE

    def close(self) -> None:
        """Close every thread's connection; none may be used any more."""
        while self._connections:
            self._connections.pop().close()

    def _is_over(self) -> bool:
        return getattr(self._local, "deadline", NO_DEADLINE).is_over
