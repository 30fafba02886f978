"""Items, and `items.sqlite`: what a snapshot knows of each item besides its embeddings."""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shared.errors import FiltersUnavailable, SnapshotError, UnknownItem
from shared.metadata_filter import MetadataFilter
from shared.metadata_index import SCHEMA as METADATA_SCHEMA
from shared.metadata_index import MetadataIndexWriter, groups, has_metadata_index, passing
from shared.recently_used import RecentlyUsed
from shared.shown import shown
from shared.text_forms import text_forms

Metadata: TypeAlias = Mapping[str, Any]
"""Whatever JSON can hold: strings, numbers, lists."""

_SCHEMA = """
CREATE TABLE items (
    number INTEGER PRIMARY KEY, item_id TEXT NOT NULL UNIQUE, category TEXT NOT NULL, metadata TEXT NOT NULL);
CREATE TABLE images (
    number INTEGER NOT NULL REFERENCES items, position INTEGER NOT NULL, path TEXT NOT NULL, row INTEGER NOT NULL,
    digest BLOB, PRIMARY KEY (number, position)) WITHOUT ROWID;
CREATE INDEX images_by_digest ON images (digest);
"""
_ITEMS = "SELECT number, item_id, category, metadata, path, row, digest FROM items JOIN images USING (number)"
_IDS = "SELECT number, item_id FROM items"
_BARE_ITEMS = _ITEMS.replace(" metadata,", " '{}',")
_FILTERS_KEPT = 16  # a byte an item each
_GROUPINGS_KEPT = 4  # four bytes an item each
_NUMBERS_AT_ONCE = 10_000  # of one statement: SQLite takes up to 32,766 values


@dataclass(frozen=True, slots=True)
class Item:
    """One product.

    Attributes:
        item_id: the caller's own name for it, unique in the catalogue.
        category: the label that the classifier learns.
        images: paths relative to the catalogue's image root, `/` between parts; at least one.
        metadata: further columns, handed back with hits.
    """

    item_id: str
    category: str
    images: tuple[str, ...]
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class IndexedItem:
    """An item in a snapshot.

    Attributes:
        item: what the catalogue says.
        number: what partitions call it; stable within one snapshot only.
        rows: for each of `item.images`, its row in the partition of the item's category.
        digests: for each of `item.images`, the SHA-256 of its file; empty where they are not known.
    """

    item: Item
    number: int
    rows: tuple[int, ...]
    digests: tuple[bytes, ...] = ()


def write_items(path: Path, items: Iterable[IndexedItem]) -> None:
    """Write a new `items.sqlite`."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(_SCHEMA + METADATA_SCHEMA)
        index = MetadataIndexWriter(connection)
        for indexed in items:
            item = indexed.item
            metadata = dict(item.metadata)
            connection.execute(
                "INSERT INTO items VALUES (?, ?, ?, ?)",
                (indexed.number, item.item_id, item.category, json.dumps(metadata)),
            )
            connection.executemany(
                "INSERT INTO images VALUES (?, ?, ?, ?, ?)",
                [
                    (indexed.number, position, image, row, digest)
                    for position, (image, row, digest) in enumerate(
                        zip(item.images, indexed.rows, indexed.digests or [None] * len(item.images), strict=True)
                    )
                ],
            )
            index.add(indexed.number, metadata.items())
        index.write()


class ItemStore:
    """Read access to `items.sqlite`, from any thread."""

    def __init__(self, path: Path) -> None:
        """Open the file; it is never written again, so readers take no locks.

        Raises:
            SnapshotError: missing or no such database.
        """
        self._path = path
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        try:
            [(self._count, last)] = self._query("SELECT count(*), max(number) FROM items", ())
            self.can_filter = has_metadata_index(self._connection())
        except sqlite3.Error as error:
            self.close()
            raise SnapshotError(f"{path} can't be read: {error}") from error
        self.n_numbers = 0 if last is None else int(last) + 1
        self._passing: RecentlyUsed[MetadataFilter, NDArray[np.bool_]] = RecentlyUsed(_FILTERS_KEPT)
        self._groups: RecentlyUsed[str, NDArray[np.int32]] = RecentlyUsed(_GROUPINGS_KEPT)

    def __len__(self) -> int:
        """How many items there are."""
        return int(self._count)

    def by_id(self, item_id: str) -> IndexedItem:
        """The item that the caller calls `item_id`: this very id first, then its NFC and NFD.

        Raises:
            UnknownItem: there is none.
        """
        for form in text_forms(item_id):
            try:
                found = list(_indexed(self._query(f"{_ITEMS} WHERE item_id = ? ORDER BY position", (form,))))
            except UnicodeEncodeError:  # half a surrogate pair, which JSON lets through and SQLite does not
                break
            if found:
                return found[0]
        raise UnknownItem(f"there is no item with the id {shown(item_id)}")

    def categories_of(self, digest: bytes) -> list[str]:
        """The categories of the items that have the very image file with this SHA-256, by item number."""
        select = "SELECT category FROM images JOIN items USING (number) WHERE digest = ? ORDER BY number"
        return list(dict.fromkeys(category for (category,) in self._query(select, (digest,))))

    def images(self) -> Iterator[tuple[str, bytes]]:
        """Category and SHA-256 of every image."""
        return iter(self._connection().execute("SELECT category, digest FROM images JOIN items USING (number)"))

    def by_numbers(self, numbers: Sequence[int]) -> list[IndexedItem]:
        """The items of these numbers, in their order."""
        # One statement for many: Python's lock is given up and waited for at every step of each.
        found: dict[int, IndexedItem] = {}
        for places, wanted in _at_once(numbers):
            rows = self._query(f"{_ITEMS} WHERE number IN ({places}) ORDER BY number, position", wanted)
            found |= {indexed.number: indexed for indexed in _indexed(rows)}
        return [found[int(number)] for number in numbers]

    def ids_of(self, numbers: Sequence[int]) -> dict[int, str]:
        """The ids of the items of these numbers."""
        found: dict[int, str] = {}
        for places, wanted in _at_once(numbers):
            found |= dict(self._query(f"{_IDS} WHERE number IN ({places})", wanted))
        return found

    def __iter__(self) -> Iterator[IndexedItem]:
        """Every item, by number."""
        return _indexed(self._connection().execute(f"{_ITEMS} ORDER BY number, position"))

    def without_metadata(self) -> Iterator[IndexedItem]:
        """The same for whoever keeps them all: their metadata are neither read nor held, and empty here."""
        return _indexed(self._connection().execute(f"{_BARE_ITEMS} ORDER BY number, position"))

    def is_remembered(self, wanted: MetadataFilter) -> bool:
        """Whether `passing` has the answer to this filter at hand."""
        return wanted in self._passing

    def passing(self, wanted: MetadataFilter, check: Callable[[], None] = lambda: None) -> NDArray[np.bool_]:
        """Which items meet all conditions; the last few filters are remembered.

        Args:
            wanted: the conditions.
            check: called before each of them; raises where the work is to end.

        Returns:
            `(n,)` bool by item number, not to be written to.

        Raises:
            FiltersUnavailable: an older version wrote the file.
        """
        self._require_index()
        found = self._passing.get(wanted)
        if found is None:
            found = passing(self._connection(), wanted, self.n_numbers, check)
            found.setflags(write=False)
            self._passing.put(wanted, found)
        return found

    def groups(self, field: str) -> NDArray[np.int32]:
        """Which items share the value of a field of the metadata; the last few fields are remembered.

        Returns:
            `(n,)` int32 by item number, equal where the values are; -1 where there is no value, or a list or an object.
            Not to be written to.

        Raises:
            FiltersUnavailable: an older version wrote the file.
        """
        self._require_index()
        found = self._groups.get(field)
        if found is None:
            found = groups(self._connection(), field, self.n_numbers)
            found.setflags(write=False)
            self._groups.put(field, found)
        return found

    def close(self) -> None:
        """Close every thread's connection; call it when no thread uses the store any more."""
        while self._connections:
            self._connections.pop().close()

    def _require_index(self) -> None:
        if not self.can_filter:
            raise FiltersUnavailable(
                "the snapshot was built by a version of Parecido that kept no index of the metadata: to filter or group"
                " hits, build it again (`make reindex`; nothing is embedded again)"
            )

    def _query(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        return self._connection().execute(sql, values).fetchall()

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            uri = f"{self._path.resolve().as_uri()}?mode=ro&immutable=1"
            connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
            self._local.connection = connection
            self._connections.append(connection)
        return connection


def _at_once(numbers: Sequence[int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """These numbers, each once, as many at a time as one statement takes: its question marks, and the values."""
    wanted = tuple({int(number) for number in numbers})
    for start in range(0, len(wanted), _NUMBERS_AT_ONCE):
        some = wanted[start : start + _NUMBERS_AT_ONCE]
        yield ", ".join("?" * len(some)), some


def _indexed(rows: Iterable[tuple[Any, ...]]) -> Iterator[IndexedItem]:
    """The items of rows that `_ITEMS` selects: those of one item in a row, by position."""
    for (number, item_id, category, metadata), images in groupby(rows, key=itemgetter(0, 1, 2, 3)):
        paths, places, digests = zip(*(image[4:] for image in images), strict=True)
        item = Item(item_id, category, paths, json.loads(metadata))
        yield IndexedItem(item, number, places, () if None in digests else digests)
