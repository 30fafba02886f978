"""Safe opening of a database: an untrusted file can't run code or endless statements.

A view named as a table could recurse forever, a generated column could create gigabytes, a trigger or a virtual table
could call functions. So the schema must be, statement by statement, that of a version of Parecido.
"""

import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path

from shared.errors import SnapshotError
from shared.files.regular_file import regular_file

_MIN_LENGTH_LIMIT_BYTES = 16 << 20
_STEPS_PER_CHECK = 20_000  # about a millisecond
_MAX_OBJECTS = 100


def open_read_only(path: Path, schemas: tuple[str, ...], is_over: Callable[[], bool]) -> sqlite3.Connection:
    """Connect to a file, read-only.

    Args:
        path: of the file.
        schemas: scripts of which one has created it: of this version, and of earlier ones.
        is_over: called repeatedly while a statement runs; the statement fails once it returns True.

    Raises:
        SnapshotError: it is not a regular file, or has an unknown schema.
        sqlite3.Error: it is not a database.
        OSError: it can't be read.
    """
    file = regular_file(path, path.parent.parent)
    connection = sqlite3.connect(f"{file.as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False)
    try:
        connection.set_progress_handler(is_over, _STEPS_PER_CHECK)
        # No stored value is longer than the file; the result of an expression could be.
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(_MIN_LENGTH_LIMIT_BYTES, min(file.stat().st_size, 10**9)))
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.setlimit(sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 0)
        for pragma in ("trusted_schema = OFF", "query_only = ON", "cell_size_check = ON"):
            connection.execute(f"PRAGMA {pragma}")
        _require_schema(connection, path, schemas)
    except BaseException:
        connection.close()
        raise
    return connection


def require_no_faults(path: Path, faults: Sequence[int | None], names: Sequence[str]) -> None:
    """Reject a database with invalid values.

    Args:
        path: of the file.
        faults: how many values have each fault; None where there are no rows.
        names: of the faults.

    Raises:
        SnapshotError: it names the first fault.
    """
    for count, name in zip(faults, names, strict=True):
        if count:
            raise SnapshotError(f"{path} has {name} ({count} of them)")


def _require_schema(connection: sqlite3.Connection, path: Path, schemas: tuple[str, ...]) -> None:
    schema = _schema(connection)
    if schema not in _known(schemas):
        names = ", ".join(sorted(name for _, name, _ in schema))[:200]
        raise SnapshotError(
            f"{path} has an unknown schema; expected the tables of a snapshot, but it has {names or 'none'}"
        )


def _schema(connection: sqlite3.Connection) -> frozenset[tuple[str, str, str]]:
    """The type, name and statement of every object in a database; SQLite's own indexes have no statement."""
    rows = connection.execute("SELECT type, name, sql, rootpage FROM sqlite_master LIMIT ?", (_MAX_OBJECTS,)).fetchall()
    if len(rows) == _MAX_OBJECTS:
        return frozenset()
    stored = {(kind, name, " ".join(str(sql).split())) for kind, name, sql, page in rows if sql is not None and page}
    return frozenset(stored | {(kind, name, "") for kind, name, sql, page in rows if not page})


@cache
def _known(scripts: tuple[str, ...]) -> frozenset[frozenset[tuple[str, str, str]]]:
    schemas = []
    for script in scripts:
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.executescript(script)
            schemas.append(_schema(connection))
    return frozenset(schemas)
