"""Read access to `items.sqlite`: a snapshot's items, their images and metadata."""

import json
import math
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.catalogue.items import IndexedItem, Item, Metadata
from shared.catalogue.items_database import MAX_METADATA_BYTES, SCHEMAS, validate_items
from shared.catalogue.lru_cache import LruCache
from shared.catalogue.metadata_filter import MetadataFilter
from shared.catalogue.metadata_index import groups, has_metadata_index, passing
from shared.database.connections import Connections
from shared.deadline import NO_DEADLINE, Deadline
from shared.errors import FiltersUnavailable, SnapshotError, UnknownItem
from shared.text.shorten import quoted
from shared.text.unicode_forms import unicode_forms

_ITEMS = "SELECT number, item_id, category, metadata, path, row, digest FROM items JOIN images USING (number)"
_IDS = "SELECT number, item_id FROM items"
_ITEMS_WITHOUT_METADATA = _ITEMS.replace(" metadata,", " '{}',")
_NUMBERS = "SELECT count(*), min(number), max(number) FROM items"
_MAY_OVERFLOW = re.compile(r"\d{300}|\d[eE]\+?\d{2}")
_CACHED_FILTERS = 16  # a byte per item each
_CACHED_GROUPINGS = 4  # four bytes per item each
_NUMBERS_PER_STATEMENT = 10_000  # SQLite accepts up to 32,766 parameters


class ItemStore:
    """Read access to `items.sqlite`, from any thread."""

    def __init__(self, path: Path, deadline: Deadline = NO_DEADLINE) -> None:
        """Open the file, without locks since it is never written again.

        Args:
            path: of the file.
            deadline: for opening it.

        Raises:
            SnapshotError: it is missing, or not a database of items.
        """
        self._path = path
        self._database = Connections(path, SCHEMAS, "items")
        try:
            with self._database.until(deadline):
                [(self._count, first, last)] = self._database.execute(_NUMBERS)
                self.can_filter = has_metadata_index(self._database.connection())
        except (sqlite3.Error, OSError, SnapshotError) as error:
            self.close()
            raise SnapshotError(f"{path} can't be read: {error}") from error
        self.n_numbers = 0 if last is None else int(last) + 1
        self._first = 0 if first is None else int(first)
        self._passing: LruCache[MetadataFilter, NDArray[np.bool_]] = LruCache(_CACHED_FILTERS)
        self._groups: LruCache[str, NDArray[np.int32]] = LruCache(_CACHED_GROUPINGS)

    def __len__(self) -> int:
        """Number of items."""
        return int(self._count)

    def validate(self, categories: Sequence[str] | None = None, deadline: Deadline = NO_DEADLINE) -> None:
        """Check that items are numbered from 0 without gaps.

        Args:
            categories: the snapshot's categories, to check the values of every item and image too.
            deadline: for that.

        Raises:
            SnapshotError: the numbers, or a value, are invalid.
        """
        if (self._first, self.n_numbers) != (0, len(self)):
            numbers = f"{self._first} to {self.n_numbers - 1}"
            raise SnapshotError(
                f"{self._path} has {len(self)} items, numbered {numbers}; expected 0 to {len(self) - 1}"
            )
        if categories is not None:
            try:
                with self._database.until(deadline):
                    validate_items(self._database.connection(), self._path, categories)
            except sqlite3.Error as error:
                raise SnapshotError(f"{self._path} can't be read: {error}") from error

    def categories(self) -> Iterator[str]:
        """The category of every item, in the order of their numbers."""
        return (category for (category,) in self._database.execute("SELECT category FROM items ORDER BY number"))

    def rows(self) -> Iterator[tuple[int, int]]:
        """For every image, its item's number, and its row in the partition of the item's category."""
        return iter(self._database.execute("SELECT number, row FROM images"))

    def by_id(self, item_id: str) -> IndexedItem:
        """The item with this id, else with its NFC or NFD.

        Raises:
            UnknownItem: there is none.
        """
        for form in unicode_forms(item_id):
            try:
                with self._database.errors():
                    items = list(
                        _indexed(self._database.query(f"{_ITEMS} WHERE item_id = ? ORDER BY position", (form,)))
                    )
            except UnicodeEncodeError:  # a lone surrogate, which JSON allows and SQLite does not
                break
            if items:
                return items[0]
        raise UnknownItem(f"no item has the id {quoted(item_id)}")

    def categories_of(self, digest: bytes) -> list[str]:
        """The categories of the items that have an image file with this SHA-256, by item number."""
        select = "SELECT category FROM images JOIN items USING (number) WHERE digest = ? ORDER BY number"
        return list(dict.fromkeys(category for (category,) in self._database.query(select, (digest,))))

    def images(self) -> Iterator[tuple[str, bytes]]:
        """The category and the SHA-256 of every image."""
        return iter(self._database.execute("SELECT category, digest FROM images JOIN items USING (number)"))

    def by_numbers(self, numbers: Sequence[int]) -> list[IndexedItem]:
        """The items with these numbers, in this order."""
        # Few statements, since SQLite releases and retakes the GIL at every step of each.
        items: dict[int, IndexedItem] = {}
        with self._database.errors():
            for parameters, values in _in_batches(numbers):
                rows = self._database.query(
                    f"{_ITEMS} WHERE number IN ({parameters}) ORDER BY number, position", values
                )
                items |= {indexed.number: indexed for indexed in _indexed(rows)}
            return [items[int(number)] for number in numbers]

    def ids_of(self, numbers: Sequence[int]) -> dict[int, str]:
        """The ids of the items with these numbers."""
        ids: dict[int, str] = {}
        for parameters, values in _in_batches(numbers):
            ids |= dict(self._database.query(f"{_IDS} WHERE number IN ({parameters})", values))
        return ids

    def __iter__(self) -> Iterator[IndexedItem]:
        """Every item, in the order of their numbers."""
        return _indexed(self._database.execute(f"{_ITEMS} ORDER BY number, position"))

    def without_metadata(self) -> Iterator[IndexedItem]:
        """Every item with empty metadata, for callers that keep all items: the metadata are not read."""
        return _indexed(self._database.execute(f"{_ITEMS_WITHOUT_METADATA} ORDER BY number, position"))

    def is_cached(self, metadata_filter: MetadataFilter) -> bool:
        """Return True if `passing` has cached the result of this filter."""
        return metadata_filter in self._passing

    def passing(self, metadata_filter: MetadataFilter, check: Callable[[], None] = lambda: None) -> NDArray[np.bool_]:
        """Evaluate a filter on all items; the results of the last few filters are cached.

        Args:
            metadata_filter: the conditions, all of which must hold.
            check: called before each condition; raises to stop the work.

        Returns:
            `(n,)` bool by item number, read-only.

        Raises:
            FiltersUnavailable: an older version wrote the file.
        """
        self._require_index()
        mask = self._passing.get(metadata_filter)
        if mask is None:
            with self._database.request():
                mask = passing(self._database.connection(), metadata_filter, self.n_numbers, check)
            mask.setflags(write=False)
            self._passing.put(metadata_filter, mask)
        return mask

    def groups(self, field: str) -> NDArray[np.int32]:
        """Group items by their value in a field of the metadata; the results of the last few fields are cached.

        Returns:
            `(n,)` int32 by item number, read-only: equal for equal values; -1 for no value, a list or an object.

        Raises:
            FiltersUnavailable: an older version wrote the file.
        """
        self._require_index()
        group_numbers = self._groups.get(field)
        if group_numbers is None:
            with self._database.request():
                group_numbers = groups(self._database.connection(), field, self.n_numbers)
            group_numbers.setflags(write=False)
            self._groups.put(field, group_numbers)
        return group_numbers

    def close(self) -> None:
        """Close every thread's connection; no thread may use the store any more."""
        self._database.close()

    def _require_index(self) -> None:
        if not self.can_filter:
            raise FiltersUnavailable(
                "the snapshot was built by a version of Parecido without an index of the metadata; to filter or group"
                " hits, build it again (`make reindex`, which embeds nothing again)"
            )


def _in_batches(numbers: Sequence[int]) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Distinct numbers in batches of one statement each: its parameters, and their values."""
    distinct = tuple({int(number) for number in numbers})
    for start in range(0, len(distinct), _NUMBERS_PER_STATEMENT):
        values = distinct[start : start + _NUMBERS_PER_STATEMENT]
        yield ", ".join("?" * len(values)), values


def _indexed(rows: Iterable[tuple[Any, ...]]) -> Iterator[IndexedItem]:
    """The items of rows selected by `_ITEMS` in the order of number and position."""
    for (number, item_id, category, metadata), images in groupby(rows, key=itemgetter(0, 1, 2, 3)):
        paths, partition_rows, digests = zip(*(image[4:] for image in images), strict=True)
        item = Item(item_id, category, paths, _metadata(metadata))
        yield IndexedItem(item, number, partition_rows, () if None in digests else digests)


def _metadata(text: str) -> Metadata:
    """Parse a JSON object; NaN, infinities and overflows, which responses could not carry, become null."""
    if len(text) > MAX_METADATA_BYTES:
        raise ValueError("the metadata of an item are too long")
    metadata = json.loads(text, parse_constant=_null, parse_float=_finite if _MAY_OVERFLOW.search(text) else None)
    if not isinstance(metadata, dict):
        raise ValueError("the metadata of an item are not a JSON object")
    return metadata


def _null(_constant: str) -> None:
    return None


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None
