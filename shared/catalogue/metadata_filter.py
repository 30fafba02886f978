"""Conditions on the metadata of items, and how metadata compare.

- A number equals a number of the same size, whatever its type: 3 and 3.0. A condition on numbers also holds for text
  that is a number as JSON spells it, since all cells of a CSV file are text: 3 finds 3, 3.0, "3" and "3.0", but not
  "03" or " 3". A condition on text never holds for a number: "3" finds "3" alone.
- A boolean equals a boolean alone: `true` is not 1, and lies in no range.
- Text equals the very same text, character by character: case counts. Where no item has it, the same text with its
  accents composed otherwise (NFC, NFD) is looked for; `metadata_index.py` does that.
- A list matches where any of its elements does. A range looks at each element by itself too.
- What is missing, null, an object, or a list within a list, never matches.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from shared.errors import InvalidRequest
from shared.text.shorten import quoted

MAX_CONDITIONS = 32
MAX_VALUES = 1000
"""Over all conditions of a filter together."""

Comparable: TypeAlias = str | int | float | bytes
"""A value in the form in which it is compared and kept: numbers and text as they are, `FALSE` or `TRUE`."""

FALSE, TRUE = b"\0", b"\1"

_SURROGATE = re.compile(r"[\ud800-\udfff]")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_LONGEST_NUMBER = 40
_BOUNDS = ("gt", "gte", "lt", "lte")
_WANTED = "wanted text, a number, true, false, a list of these, or a range such as {'gte': 10, 'lt': 20}"


@dataclass(frozen=True)
class AnyOf:
    """Holds where a value is one of these."""

    values: tuple[Comparable, ...]


@dataclass(frozen=True)
class Range:
    """Holds where a value is a number within all of these bounds; None bounds nothing."""

    gt: int | float | None = None
    gte: int | float | None = None
    lt: int | float | None = None
    lte: int | float | None = None


@dataclass(frozen=True)
class MetadataFilter:
    """Conditions that must all hold; equal filters find the same items.

    Attributes:
        conditions: field and condition; a field comes once. Without any, every item passes.
    """

    conditions: tuple[tuple[str, AnyOf | Range], ...] = ()

    @classmethod
    def from_json(cls, value: Any) -> "MetadataFilter":
        """Check a filter as it comes in a request, already decoded from JSON.

        `{"brand": "Acme", "size": [41, 42], "price": {"gte": 10, "lt": 50.5}, "in_stock": true}`: by the name of a
        field at the top level of the metadata, a value to equal, a list of values to equal any of, or a range of
        numbers with one or more of `gt`, `gte`, `lt` and `lte`. The module's docstring says what equals what.

        Args:
            value: an object of at most `MAX_CONDITIONS` fields with at most `MAX_VALUES` values in all.

        Raises:
            InvalidRequest: it names the field, what was found and what was wanted.
        """
        if not isinstance(value, Mapping):
            raise InvalidRequest(f"`filter` is {quoted(value)}; wanted an object from fields to conditions")
        if len(value) > MAX_CONDITIONS:
            raise InvalidRequest(f"`filter` has {len(value)} fields; at most {MAX_CONDITIONS} are allowed")
        n_values = sum(len(condition) for condition in value.values() if isinstance(condition, list))
        if n_values > MAX_VALUES:
            raise InvalidRequest(f"`filter` lists {n_values} values; at most {MAX_VALUES} are allowed")
        return cls(tuple((_field(field), _condition(field, condition)) for field, condition in value.items()))


def comparable(value: Any) -> Comparable | None:
    """The form in which a value is compared; None for one that nothing equals.

    Whole numbers beyond 64 bits are compared as 64-bit floating-point numbers.
    """
    if isinstance(value, bool):
        return TRUE if value else FALSE
    if isinstance(value, str):
        is_text = value.isascii() or not _SURROGATE.search(value)  # half a pair is no character: no database takes it
        return value if is_text else None
    if isinstance(value, int | float):
        return _number(value)
    return None


def spelled_number(text: str) -> int | float | None:
    """The number that a text spells, as JSON would; None where it spells none."""
    found = _NUMBER.fullmatch(text) if len(text) <= _LONGEST_NUMBER else None
    if found is None:
        return None
    fraction, exponent = found.group(2, 3)
    return _number(int(text) if fraction is None and exponent is None else float(text))


def _number(value: int | float) -> int | float | None:
    try:
        number = value if isinstance(value, int) and -(2**63) <= value < 2**63 else float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _field(field: Any) -> str:
    if not isinstance(field, str) or _SURROGATE.search(field):
        raise InvalidRequest(f"`filter` has the field {quoted(field)}, which is no text")
    return field


def _condition(field: str, value: Any) -> AnyOf | Range:
    name = f"`filter` on {quoted(field)}"
    if isinstance(value, Mapping):
        return _range(name, value)
    if not isinstance(value, list):
        return AnyOf((_value(name, value),))
    if not value:
        raise InvalidRequest(f"{name} lists no value; wanted one at least")
    return AnyOf(tuple(dict.fromkeys(_value(name, one) for one in value)))


def _value(name: str, value: Any) -> Comparable:
    found = comparable(value)
    if found is None:
        raise InvalidRequest(f"{name} is {quoted(value)}; {_WANTED}")
    return found


def _range(name: str, value: Mapping[str, Any]) -> Range:
    if not value:
        raise InvalidRequest(f"{name} is a range without bounds; wanted one or more of {', '.join(_BOUNDS)}")
    bounds: dict[str, int | float] = {}
    for bound, limit in value.items():
        if bound not in _BOUNDS:
            raise InvalidRequest(f"{name} has {quoted(bound)}; a range has {', '.join(_BOUNDS)}")
        number = comparable(limit)
        if isinstance(limit, bool) or not isinstance(number, int | float):
            raise InvalidRequest(f"{name} has `{bound}` {quoted(limit)}; wanted a finite number")
        bounds[bound] = number
    return Range(**bounds)
