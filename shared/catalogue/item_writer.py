"""Writing of `items.sqlite`."""

import json
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from shared.catalogue.items import IndexedItem
from shared.catalogue.items_database import SCHEMA
from shared.catalogue.metadata_index import SCHEMA as METADATA_SCHEMA
from shared.catalogue.metadata_index import MetadataIndexWriter


def write_items(path: Path, items: Iterable[IndexedItem]) -> None:
    """Write a new `items.sqlite`, with the index of the metadata."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(SCHEMA + METADATA_SCHEMA)
        index = MetadataIndexWriter(connection)
        for indexed in items:
            item = indexed.item
            metadata = dict(item.metadata)
            connection.execute(
                "INSERT INTO items VALUES (?, ?, ?, ?)",
                (indexed.number, item.item_id, item.category, json.dumps(metadata)),
            )
            digests = indexed.digests or [None] * len(item.images)
            images = enumerate(zip(item.images, indexed.rows, digests, strict=True))
            connection.executemany(
                "INSERT INTO images VALUES (?, ?, ?, ?, ?)",
                [(indexed.number, position, *image) for position, image in images],
            )
            index.add(indexed.number, metadata.items())
        index.write()
