"""The inverted index over metadata in `items.sqlite`: the items that have a value in a field.

An entry is a field, a value and the numbers of all items that have it, as one blob: so a common value is read at once,
and metadata need not be in memory. The column `is_whole` is true for an item's own value, of which it has at most one
per field, and false for an element of a list, or for the number that its text spells (the 3 of "3"). Filters use all
entries, groups only an item's own values.
"""

import sqlite3
from collections.abc import Callable, Iterable
from itertools import chain, groupby
from operator import itemgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shared.catalogue.metadata_filter import AnyOf, Comparable, MetadataFilter, Range, comparable, spelled_number
from shared.text.unicode_forms import unicode_forms

SCHEMA = """
CREATE TABLE metadata_fields (field INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE metadata_values (
    field INTEGER NOT NULL REFERENCES metadata_fields, value NOT NULL, is_whole INTEGER NOT NULL,
    numbers BLOB NOT NULL, PRIMARY KEY (field, value, is_whole)) WITHOUT ROWID;
"""
"""`value` has no type, so SQLite distinguishes numbers, text and blobs, and orders numbers first."""

_STAGED = "CREATE TEMP TABLE staged (field, value, is_whole, number)"
_SORTED = "SELECT field, value, is_whole, number FROM temp.staged ORDER BY field, value, is_whole, number"
_STAGE_SIZE = 10_000
_NUMBERS = np.dtype("<u4")
# SQLite joins the entries of a million values in 0.1 s; one by one in Python takes several times as long.
_JOINED = "CAST(group_concat(numbers, '') AS BLOB)"
_SIZES = "group_concat(printf('%08x', length(numbers) / 4), '')"
_BOUNDS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


class MetadataIndexWriter:
    """Writes the index of the metadata of all items, holding only a part of them in memory."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Write through a connection to a database with `SCHEMA`; the caller commits."""
        self._connection = connection
        self._fields: dict[str, int] = {}
        self._staged: list[tuple[int, Comparable, bool, int]] = []
        connection.execute(_STAGED)

    def add(self, number: int, metadata: Iterable[tuple[str, Any]]) -> None:
        """Add an item."""
        for name, value in metadata:
            if comparable(name) is not None:
                field = self._fields.setdefault(name, len(self._fields))
                self._staged += [(field, entry, is_own, number) for entry, is_own in _entries(value)]
        if len(self._staged) > _STAGE_SIZE:
            self._stage()

    def write(self) -> None:
        """Write the index of all added items."""
        self._stage()
        fields = [(field, name) for name, field in self._fields.items()]
        self._connection.executemany("INSERT INTO metadata_fields VALUES (?, ?)", fields)
        by_value = groupby(self._connection.execute(_SORTED), key=itemgetter(0, 1, 2))
        entries = ((*key, np.array([row[3] for row in group], _NUMBERS).tobytes()) for key, group in by_value)
        self._connection.executemany("INSERT INTO metadata_values VALUES (?, ?, ?, ?)", entries)
        self._connection.execute("DROP TABLE temp.staged")

    def _stage(self) -> None:
        self._connection.executemany("INSERT INTO temp.staged VALUES (?, ?, ?, ?)", self._staged)
        self._staged.clear()


def _entries(value: Any) -> Iterable[tuple[Comparable, bool]]:
    """The distinct values that match an item's value in a field; True for the value itself."""
    if isinstance(value, list):
        return {(entry, False) for element in value for entry, _ in _scalar_entries(element)}
    return _scalar_entries(value)


def _scalar_entries(value: Any) -> Iterable[tuple[Comparable, bool]]:
    own = comparable(value)
    if own is None:
        return ()
    number = spelled_number(value) if isinstance(value, str) else None
    return [(own, True)] if number is None else [(own, True), (number, False)]


def has_metadata_index(connection: sqlite3.Connection) -> bool:
    """Return True if a database has the index; those of older versions have none."""
    return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'metadata_values'").fetchone())


def passing(
    connection: sqlite3.Connection,
    metadata_filter: MetadataFilter,
    n_numbers: int,
    check: Callable[[], None] = lambda: None,
) -> NDArray[np.bool_]:
    """Evaluate a filter on all items: `(n_numbers,)` bool by item number.

    Args:
        connection: to a database with the index.
        metadata_filter: the conditions, all of which must hold.
        n_numbers: item numbers are below it.
        check: called before each condition; raises to stop the work.
    """
    mask = np.ones(n_numbers, dtype=np.bool_)
    for name, condition in metadata_filter.conditions:
        check()
        sql, values = _where(_in_stored_forms(connection, name, condition))
        matches = np.zeros(n_numbers, dtype=np.bool_)
        matches[_numbers(_read(connection, _JOINED, name, sql, values)[0])] = True
        mask &= matches
        if not mask.any():
            break
    return mask


def groups(connection: sqlite3.Connection, name: str, n_numbers: int) -> NDArray[np.int32]:
    """Group items by their value in a field: `(n_numbers,)` int32 by item number; -1 for items without one value."""
    groups_of_items = np.full(n_numbers, -1, dtype=np.int32)
    joined, count, largest = _read(connection, f"{_JOINED}, count(*), max(length(numbers))", name, "is_whole", ())
    group_numbers = np.arange(count, dtype=np.int32)
    if count and largest > _NUMBERS.itemsize:  # else each value is that of one item, and the sizes are not needed
        [sizes] = _read(connection, _SIZES, name, "is_whole", ())
        group_numbers = np.repeat(group_numbers, np.frombuffer(bytes.fromhex(sizes), ">u4"))
    groups_of_items[_numbers(joined)] = group_numbers
    return groups_of_items


def _in_stored_forms(connection: sqlite3.Connection, name: str, condition: AnyOf | Range) -> AnyOf | Range:
    """The condition with each text in the first of its normal forms that some item has."""
    if isinstance(condition, Range):
        return condition
    forms = {value: _forms(value) for value in condition.values}
    if all(len(texts) == 1 for texts in forms.values()):
        return condition
    all_forms = tuple(dict.fromkeys(chain.from_iterable(forms.values())))
    stored = {value for (value,) in _select(connection, "value", name, *_where(AnyOf(all_forms)))}
    return AnyOf(tuple(next((form for form in forms[value] if form in stored), value) for value in condition.values))


def _forms(value: Comparable) -> tuple[Comparable, ...]:
    return unicode_forms(value) if isinstance(value, str) else (value,)


def _where(condition: AnyOf | Range) -> tuple[str, tuple[Comparable, ...]]:
    if isinstance(condition, AnyOf):
        return f"value IN ({', '.join('?' * len(condition.values))})", condition.values
    limits = {bound: getattr(condition, bound) for bound in _BOUNDS}
    given = [(f"value {_BOUNDS[bound]} ?", limit) for bound, limit in limits.items() if limit is not None]
    sql = " AND ".join(["value <= 9e999", *(comparison for comparison, _ in given)])  # 9e999 is infinity: numbers only
    return sql, tuple(limit for _, limit in given)


def _read(
    connection: sqlite3.Connection, select: str, name: str, where: str, values: tuple[Comparable, ...]
) -> tuple[Any, ...]:
    row: tuple[Any, ...] = _select(connection, select, name, where, values).fetchone()
    return row


def _select(
    connection: sqlite3.Connection, select: str, name: str, where: str, values: tuple[Comparable, ...]
) -> sqlite3.Cursor:
    names = unicode_forms(name)
    fields = f"SELECT field FROM metadata_fields WHERE name IN ({', '.join('?' * len(names))})"  # noqa: S608  # ours
    sql = f"SELECT {select} FROM metadata_values WHERE field IN ({fields}) AND {where}"  # noqa: S608
    return connection.execute(sql, (*names, *values))


def _numbers(joined: bytes | None) -> NDArray[np.uint32]:
    return np.frombuffer(joined or b"", _NUMBERS)
