"""The schema of `items.sqlite`, and its safe opening: an untrusted file can't run code or endless statements.

A view named as a table could recurse forever, a generated column could create gigabytes, a trigger or a virtual table
could call functions. So the schema must be, statement by statement, that of a version of Parecido.
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
"""The schemas of this version and of earlier ones."""

MAX_METADATA_BYTES = 1 << 20
"""The size of one item's metadata."""
_MIN_LENGTH_LIMIT_BYTES = 16 << 20
_STEPS_PER_CHECK = 20_000  # about a millisecond
_MAX_OBJECTS = 100

_ITEMS_FAULTS = """
SELECT sum(typeof(item_id) <> 'text' OR item_id = ''), sum(category NOT IN (SELECT value FROM json_each(?))),
    sum(typeof(metadata) <> 'text' OR length(CAST(metadata AS BLOB)) > ?), sum(metadata NOT LIKE '{%'),
    sum(json_valid(metadata) = 0 AND metadata NOT LIKE '%NaN%' AND metadata NOT LIKE '%Infinity%')
FROM items"""
_ITEMS_FAULT_NAMES = (
    "an id that is not text",
    "a category that is not in the manifest",
    f"metadata that are not text, or exceed {MAX_METADATA_BYTES:,} bytes",
    "metadata that are not a JSON object",
    "metadata that are not valid JSON",
)
_IMAGES_FAULTS = """
SELECT sum(typeof(path) <> 'text' OR instr(CAST(path AS BLOB), x'00')), sum(typeof(row) <> 'integer' OR row < 0)
FROM images"""
_IMAGES_FAULT_NAMES = ("a path that is not text, or contains NUL", "a row that is not a number from 0")


def open_items(path: Path, is_over: Callable[[], bool]) -> sqlite3.Connection:
    """Connect to the file, read-only.

    Args:
        path: of the file.
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
        _require_schema(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def validate_items(connection: sqlite3.Connection, path: Path, categories: Sequence[str]) -> None:
    """Check the values of every item and image; this reads the entire file.

    Args:
        connection: to the database.
        path: for messages.
        categories: the snapshot's categories.

    Raises:
        SnapshotError: a value is invalid.
        sqlite3.Error: the file is damaged.
    """
    # NaN and infinity are not JSON, but earlier versions wrote them; they are read as null.
    [faults] = connection.execute(_ITEMS_FAULTS, (json.dumps(list(categories)), MAX_METADATA_BYTES))
    _require_none(path, faults, _ITEMS_FAULT_NAMES)
    [faults] = connection.execute(_IMAGES_FAULTS)
    _require_none(path, faults, _IMAGES_FAULT_NAMES)


def _require_none(path: Path, faults: Sequence[int | None], names: Sequence[str]) -> None:
    for count, name in zip(faults, names, strict=True):
        if count:
            raise SnapshotError(f"{path} has {name} ({count} of them)")


def _require_schema(connection: sqlite3.Connection, path: Path) -> None:
    schema = _schema(connection)
    if schema not in _known_schemas():
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
def _known_schemas() -> frozenset[frozenset[tuple[str, str, str]]]:
    schemas = []
    for script in _SCHEMAS:
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.executescript(script)
            schemas.append(_schema(connection))
    return frozenset(schemas)
