"""Open `items.sqlite` so that whoever wrote it can't run anything: plain tables alone, and statements that end.

A view with the name of a table could recurse for ever, a generated column could make gigabytes, a trigger or a virtual
table could call functions. So the schema has to be, statement by statement, one that a version of Parecido wrote.
"""

import json
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path

from shared.catalogue.metadata_index import SCHEMA as METADATA_SCHEMA
from shared.errors import SnapshotError
from shared.files.regular_file import regular_file

SCHEMA = """
CREATE TABLE items (
    number INTEGER PRIMARY KEY, item_id TEXT NOT NULL UNIQUE, category TEXT NOT NULL, metadata TEXT NOT NULL);
CREATE TABLE images (
    number INTEGER NOT NULL REFERENCES items, position INTEGER NOT NULL, path TEXT NOT NULL, row INTEGER NOT NULL,
    digest BLOB, PRIMARY KEY (number, position)) WITHOUT ROWID;
CREATE INDEX images_by_digest ON images (digest);
"""
_WITHOUT_DIGESTS = SCHEMA.replace("\n    digest BLOB,", "\n   ").replace(
    "CREATE INDEX images_by_digest ON images (digest);\n", ""
)
_SCHEMAS = (SCHEMA + METADATA_SCHEMA, SCHEMA, _WITHOUT_DIGESTS)
"""Of this version and of earlier ones."""

MOST_METADATA_BYTES = 1 << 20
"""Of one item."""
_LEAST_LIMIT_BYTES = 16 << 20
_STEPS = 20_000  # a millisecond or so
_MOST_OBJECTS = 100

_ITEMS_FAULTS = """
SELECT sum(typeof(item_id) <> 'text' OR item_id = ''), sum(category NOT IN (SELECT value FROM json_each(?))),
    sum(typeof(metadata) <> 'text' OR length(CAST(metadata AS BLOB)) > ?), sum(metadata NOT LIKE '{%'),
    sum(json_valid(metadata) = 0 AND metadata NOT LIKE '%NaN%' AND metadata NOT LIKE '%Infinity%')
FROM items"""
_ITEMS_EXPECTED = (
    "an id that is no text",
    "a category that the manifest does not have",
    f"metadata that are no text, or more than {MOST_METADATA_BYTES:,} bytes",
    "metadata that are no JSON object",
    "metadata that are no JSON",
)
_IMAGES_FAULTS = """
SELECT sum(typeof(path) <> 'text' OR instr(CAST(path AS BLOB), x'00')), sum(typeof(row) <> 'integer' OR row < 0)
FROM images"""
_IMAGES_EXPECTED = ("a path that is no text, or has a NUL", "a row that can't be")


def open_items(path: Path, is_over: Callable[[], bool]) -> sqlite3.Connection:
    """Connect to the file, read-only.

    Args:
        path: of the file.
        is_over: asked again and again while a statement runs; the statement fails when it says so.

    Raises:
        SnapshotError: it is not a regular file, or its schema is another one.
        sqlite3.Error: it is no such database.
        OSError: it can't be read.
    """
    found = regular_file(path, path.parent.parent)
    connection = sqlite3.connect(f"{found.as_uri()}?mode=ro&immutable=1", uri=True, check_same_thread=False)
    try:
        connection.set_progress_handler(is_over, _STEPS)
        # No value is longer than the file that it is in; what is made by an expression could be.
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(_LEAST_LIMIT_BYTES, min(found.stat().st_size, 10**9)))
        connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
        connection.setlimit(sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 0)
        for pragma in ("trusted_schema = OFF", "query_only = ON", "cell_size_check = ON"):
            connection.execute(f"PRAGMA {pragma}")
        _require_schema(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def check_items(connection: sqlite3.Connection, path: Path, categories: Sequence[str]) -> None:
    """Look at every item and every image; this reads all of the file.

    Args:
        connection: to it.
        path: for messages.
        categories: that items may have.

    Raises:
        SnapshotError: it says what is wrong.
        sqlite3.Error: it is damaged.
    """
    # NaN and infinity are not JSON, but earlier versions wrote them: they are read as null.
    [faults] = connection.execute(_ITEMS_FAULTS, (json.dumps(list(categories)), MOST_METADATA_BYTES))
    _require_none(path, faults, _ITEMS_EXPECTED)
    [faults] = connection.execute(_IMAGES_FAULTS)
    _require_none(path, faults, _IMAGES_EXPECTED)


def _require_none(path: Path, faults: Sequence[int | None], names: Sequence[str]) -> None:
    for count, name in zip(faults, names, strict=True):
        if count:
            raise SnapshotError(f"{path} has {name}, {count} times")


def _require_schema(connection: sqlite3.Connection, path: Path) -> None:
    found = _statements(connection)
    if found not in _known():
        names = ", ".join(sorted(name for _, name, _ in found))[:200]
        raise SnapshotError(f"{path} has other tables than a snapshot's, or more than tables: {names or 'none'}")


def _statements(connection: sqlite3.Connection) -> frozenset[tuple[str, str, str]]:
    """Type, name and statement of all that a database has, but for the indexes that SQLite makes for itself."""
    rows = connection.execute(
        "SELECT type, name, sql, rootpage FROM sqlite_master LIMIT ?", (_MOST_OBJECTS,)
    ).fetchall()
    if len(rows) == _MOST_OBJECTS:
        return frozenset()
    made = {(kind, name, " ".join(str(sql).split())) for kind, name, sql, page in rows if sql is not None and page}
    return frozenset(made | {(kind, name, "") for kind, name, sql, page in rows if not page})


@cache
def _known() -> frozenset[frozenset[tuple[str, str, str]]]:
    found = []
    for schema in _SCHEMAS:
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.executescript(schema)
            found.append(_statements(connection))
    return frozenset(found)
