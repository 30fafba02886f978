"""Items, and `items.sqlite`: what a snapshot knows of each item besides its embeddings."""

import json
import logging
import math
import re
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from shared.catalogue.items_database import MOST_METADATA_BYTES, SCHEMA, check_items, open_items
from shared.catalogue.metadata_filter import MetadataFilter
from shared.catalogue.metadata_index import SCHEMA as METADATA_SCHEMA
from shared.catalogue.metadata_index import MetadataIndexWriter, groups, has_metadata_index, passing
from shared.catalogue.text_forms import text_forms
from shared.deadline import NO_DEADLINE, Deadline
from shared.errors import DamagedSnapshot, FiltersUnavailable, SnapshotError, UnknownItem
from shared.recently_used import RecentlyUsed
from shared.shown import shown

_log = logging.getLogger(__name__)

Metadata: TypeAlias = Mapping[str, Any]
"""Whatever JSON can hold: strings, numbers, lists."""

_ITEMS = "SELECT number, item_id, category, metadata, path, row, digest FROM items JOIN images USING (number)"
_IDS = "SELECT number, item_id FROM items"
_BARE_ITEMS = _ITEMS.replace(" metadata,", " '{}',")
_NUMBERS = "SELECT count(*), min(number), max(number) FROM items"
_QUERY_S = 10.0
"""Far more than any statement of a request takes."""
_HUGE = re.compile(r"\d{300}|\d[eE]\+?\d{2}")
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
        connection.executescript(SCHEMA + METADATA_SCHEMA)
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

    def __init__(self, path: Path, deadline: Deadline = NO_DEADLINE) -> None:
        """Open the file; it is never written again, so readers take no locks.

        Args:
            path: of the file.
            deadline: for opening it.

        Raises:
            SnapshotError: missing or no such database.
        """
        self._path = path
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        try:
            with self._until(deadline):
                [(self._count, first, last)] = self._connection().execute(_NUMBERS)
                self.can_filter = has_metadata_index(self._connection())
        except (sqlite3.Error, OSError, SnapshotError) as error:
            self.close()
            raise SnapshotError(f"{path} can't be read: {error}") from error
        self.n_numbers = 0 if last is None else int(last) + 1
        self._first = 0 if first is None else int(first)
        self._passing: RecentlyUsed[MetadataFilter, NDArray[np.bool_]] = RecentlyUsed(_FILTERS_KEPT)
        self._groups: RecentlyUsed[str, NDArray[np.int32]] = RecentlyUsed(_GROUPINGS_KEPT)

    def __len__(self) -> int:
        """How many items there are."""
        return int(self._count)

    def check(self, categories: Sequence[str] | None = None, deadline: Deadline = NO_DEADLINE) -> None:
        """Refuse items that are not numbered from 0 on, as those of a snapshot are.

        Args:
            categories: look at every item and image too, and refuse other categories, and values that can't be.
            deadline: for that.

        Raises:
            SnapshotError: it says what is wrong.
        """
        if (self._first, self.n_numbers) != (0, len(self)):
            found = f"{self._first} to {self.n_numbers - 1}"
            raise SnapshotError(f"{self._path} has {len(self)} items, numbered {found}")
        if categories is not None:
            try:
                with self._until(deadline):
                    check_items(self._connection(), self._path, categories)
            except sqlite3.Error as error:
                raise SnapshotError(f"{self._path} can't be read: {error}") from error

    def categories(self) -> Iterator[str]:
        """The category of every item, by number."""
        return (category for (category,) in self._connection().execute("SELECT category FROM items ORDER BY number"))

    def rows(self) -> Iterator[tuple[int, int]]:
        """The number of the item, and the row in the partition of its category, of every image."""
        return iter(self._connection().execute("SELECT number, row FROM images"))

    def by_id(self, item_id: str) -> IndexedItem:
        """The item that the caller calls `item_id`: this very id first, then its NFC and NFD.

        Raises:
            UnknownItem: there is none.
        """
        for form in text_forms(item_id):
            try:
                with self._errors():
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
        with self._errors():
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
            with self._errors(), self._until(Deadline.after(_QUERY_S)):
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
            with self._errors(), self._until(Deadline.after(_QUERY_S)):
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
        with self._errors(), self._until(Deadline.after(_QUERY_S)):
            return self._connection().execute(sql, values).fetchall()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Turn whatever damaged bytes lead to into an error of ours."""
        try:
            yield
        except UnicodeEncodeError:  # of what was asked for
            raise
        except (sqlite3.Error, ValueError, KeyError, IndexError, TypeError, OverflowError, RecursionError) as error:
            _log.error("%s is damaged", self._path, exc_info=error)
            raise DamagedSnapshot(f"the snapshot's items can't be read: {type(error).__name__}") from error

    @contextmanager
    def _until(self, deadline: Deadline) -> Iterator[None]:
        """End statements of this thread when the time has passed."""
        self._local.deadline = deadline
        try:
            yield
        finally:
            self._local.deadline = NO_DEADLINE

    def _is_over(self) -> bool:
        return getattr(self._local, "deadline", NO_DEADLINE).is_over

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = open_items(self._path, self._is_over)
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
        item = Item(item_id, category, paths, _metadata(metadata))
        yield IndexedItem(item, number, places, () if None in digests else digests)


def _metadata(text: str) -> Metadata:
    """The JSON object; numbers that JSON does not have, and that answers could not give back, are null."""
    if len(text) > MOST_METADATA_BYTES:
        raise ValueError("metadata of an item are longer than expected")
    found = json.loads(text, parse_constant=_null, parse_float=_finite if _HUGE.search(text) else None)
    if not isinstance(found, dict):
        raise ValueError("metadata of an item are no JSON object")
    return found


def _null(_constant: str) -> None:
    return None


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None
