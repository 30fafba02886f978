"""The inverted index over metadata in `items.sqlite`: which items have which value in which field.

An entry is a field, a value and the numbers of all items that have it, as one blob: so a common value is read at once,
and the metadata themselves need not be in memory. `is_whole` tells an item's own value from one that it only has beside
others (an element of a list), or that its text spells (the 3 of "3"): filters take both, groups the whole ones alone,
and an item has at most one of these in a field.
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
"""`value` has no type, so that SQLite keeps numbers, text and blobs apart, and orders numbers before all others."""

_STAGED = "CREATE TEMP TABLE staged (field, value, is_whole, number)"
_SORTED = "SELECT field, value, is_whole, number FROM temp.staged ORDER BY field, value, is_whole, number"
_COLLECTED = 10_000
_NUMBERS = np.dtype("<u4")
# SQLite joins the entries of a million values in 0.1 s; handed to Python one by one they take several times as long.
_JOINED = "CAST(group_concat(numbers, '') AS BLOB)"
_SIZES = "group_concat(printf('%08x', length(numbers) / 4), '')"
_BOUNDS = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


class MetadataIndexWriter:
    """Collects the metadata of all items, then writes the index of them; memory holds a part of them at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Write through a connection to a database that has `SCHEMA`; committing is the caller's."""
        self._connection = connection
        self._fields: dict[str, int] = {}
        self._collected: list[tuple[int, Comparable, bool, int]] = []
        connection.execute(_STAGED)

    def add(self, number: int, metadata: Iterable[tuple[str, Any]]) -> None:
        """Take in an item."""
        for name, value in metadata:
            if comparable(name) is not None:
                field = self._fields.setdefault(name, len(self._fields))
                self._collected += [(field, found, is_whole, number) for found, is_whole in _values(value)]
        if len(self._collected) > _COLLECTED:
            self._stage()

    def write(self) -> None:
        """Write the index of all that was added."""
        self._stage()
        fields = [(field, name) for name, field in self._fields.items()]
        self._connection.executemany("INSERT INTO metadata_fields VALUES (?, ?)", fields)
        by_value = groupby(self._connection.execute(_SORTED), key=itemgetter(0, 1, 2))
        entries = ((*key, np.array([row[3] for row in group], _NUMBERS).tobytes()) for key, group in by_value)
        self._connection.executemany("INSERT INTO metadata_values VALUES (?, ?, ?, ?)", entries)
        self._connection.execute("DROP TABLE temp.staged")

    def _stage(self) -> None:
        self._connection.executemany("INSERT INTO temp.staged VALUES (?, ?, ?, ?)", self._collected)
        self._collected.clear()


def _values(value: Any) -> Iterable[tuple[Comparable, bool]]:
    """What an item with this value in a field is found by, and whether that is the value itself; each once."""
    if isinstance(value, list):
        return {(found, False) for element in value for found, _ in _one(element)}
    return _one(value)


def _one(value: Any) -> Iterable[tuple[Comparable, bool]]:
    found = comparable(value)
    if found is None:
        return ()
    spelled = spelled_number(value) if isinstance(value, str) else None
    return [(found, True)] if spelled is None else [(found, True), (spelled, False)]


def has_metadata_index(connection: sqlite3.Connection) -> bool:
    """Whether a database has one: those of older versions have not."""
    return bool(connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'metadata_values'").fetchone())


def passing(
    connection: sqlite3.Connection,
    wanted: MetadataFilter,
    n_numbers: int,
    check: Callable[[], None] = lambda: None,
) -> NDArray[np.bool_]:
    """Which items meet all conditions: `(n_numbers,)` bool, by item number.

    Args:
        connection: to a database that has the index.
        wanted: the conditions.
        n_numbers: item numbers are lower.
        check: called before each condition; raises where the work is to end.
    """
    passed = np.ones(n_numbers, dtype=np.bool_)
    for name, condition in wanted.conditions:
        check()
        sql, values = _where(_as_spelled(connection, name, condition))
        found = np.zeros(n_numbers, dtype=np.bool_)
        found[_numbers(_read(connection, _JOINED, name, sql, values)[0])] = True
        passed &= found
        if not passed.any():
            break
    return passed


def groups(connection: sqlite3.Connection, name: str, n_numbers: int) -> NDArray[np.int32]:
    """Which items share the value of a field: `(n_numbers,)` int32, by item number; -1 for those without one value."""
    found = np.full(n_numbers, -1, dtype=np.int32)
    joined, count, largest = _read(connection, f"{_JOINED}, count(*), max(length(numbers))", name, "is_whole", ())
    of_each = np.arange(count, dtype=np.int32)
    if count and largest > _NUMBERS.itemsize:  # else each value is one item's alone, and the sizes need not be read
        [sizes] = _read(connection, _SIZES, name, "is_whole", ())
        of_each = np.repeat(of_each, np.frombuffer(bytes.fromhex(sizes), ">u4"))
    found[_numbers(joined)] = of_each
    return found


def _as_spelled(connection: sqlite3.Connection, name: str, condition: AnyOf | Range) -> AnyOf | Range:
    """A condition with accents as the metadata compose them, where no item has the very same text."""
    if isinstance(condition, Range):
        return condition
    forms = {value: _forms(value) for value in condition.values}
    if all(len(one) == 1 for one in forms.values()):
        return condition
    wanted = tuple(dict.fromkeys(chain.from_iterable(forms.values())))
    there = {value for (value,) in _select(connection, "value", name, *_where(AnyOf(wanted)))}
    return AnyOf(tuple(next((form for form in forms[value] if form in there), value) for value in condition.values))


def _forms(value: Comparable) -> tuple[Comparable, ...]:
    return unicode_forms(value) if isinstance(value, str) else (value,)


def _where(condition: AnyOf | Range) -> tuple[str, tuple[Comparable, ...]]:
    if isinstance(condition, AnyOf):
        return f"value IN ({', '.join('?' * len(condition.values))})", condition.values
    limits = {bound: getattr(condition, bound) for bound in _BOUNDS}
    given = [(f"value {_BOUNDS[bound]} ?", limit) for bound, limit in limits.items() if limit is not None]
    sql = " AND ".join(["value <= 9e999", *(comparison for comparison, _ in given)])  # infinity: numbers alone
    return sql, tuple(limit for _, limit in given)


def _read(
    connection: sqlite3.Connection, select: str, name: str, where: str, values: tuple[Comparable, ...]
) -> tuple[Any, ...]:
    found: tuple[Any, ...] = _select(connection, select, name, where, values).fetchone()
    return found


def _select(
    connection: sqlite3.Connection, select: str, name: str, where: str, values: tuple[Comparable, ...]
) -> sqlite3.Cursor:
    names = unicode_forms(name)
    fields = f"SELECT field FROM metadata_fields WHERE name IN ({', '.join('?' * len(names))})"  # noqa: S608  # ours
    sql = f"SELECT {select} FROM metadata_values WHERE field IN ({fields}) AND {where}"  # noqa: S608
    return connection.execute(sql, (*names, *values))


def _numbers(joined: bytes | None) -> NDArray[np.uint32]:
    return np.frombuffer(joined or b"", _NUMBERS)
