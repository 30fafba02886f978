"""The schemas of `items.sqlite`, and the check of its values."""

import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from shared.catalogue.metadata_index import SCHEMA as METADATA_SCHEMA
from shared.database.read_only import require_no_faults

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
SCHEMAS = (SCHEMA + METADATA_SCHEMA, SCHEMA, _WITHOUT_DIGESTS)
"""The schemas of this version and of earlier ones."""

MAX_METADATA_BYTES = 1 << 20
"""The size of one item's metadata."""

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
    require_no_faults(path, faults, _ITEMS_FAULT_NAMES)
    [faults] = connection.execute(_IMAGES_FAULTS)
    require_no_faults(path, faults, _IMAGES_FAULT_NAMES)
