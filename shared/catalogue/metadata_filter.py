"""Filters: conditions on the metadata of items, and the rules of comparison.

- Numbers are equal whatever their type: 3 and 3.0. A condition on numbers also matches text that spells a number as
  JSON does, since all cells of a CSV file are text: 3 matches 3, 3.0, "3" and "3.0", but not "03" or " 3". A condition
  on text never matches a number: "3" matches only "3".
- A boolean equals only a boolean: `true` is not 1, and is in no range.
- Text is compared character by character, case included. If no item has it, its other Unicode normal forms (NFC, NFD)
  are tried; `metadata_index.py` does that.
- A list matches if any of its elements does, in ranges too.
- A missing value, null, an object, or a list within a list never matches.
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
"""Of all conditions of a filter together."""

Comparable: TypeAlias = str | int | float | bytes
"""A value as it is compared and stored: numbers and text as they are, booleans as `FALSE` or `TRUE`."""

FALSE, TRUE = b"\0", b"\1"

_SURROGATE = re.compile(r"[\ud800-\udfff]")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_MAX_NUMBER_CHARS = 40
_BOUNDS = ("gt", "gte", "lt", "lte")
_EXPECTED = "expected text, a number, true, false, a list of these, or a range such as {'gte': 10, 'lt': 20}"


@dataclass(frozen=True)
class AnyOf:
    """Matches any of these values."""

    values: tuple[Comparable, ...]


@dataclass(frozen=True)
class Range:
    """Matches numbers within all of these bounds; None is no bound."""

    gt: int | float | None = None
    gte: int | float | None = None
    lt: int | float | None = None
    lte: int | float | None = None


@dataclass(frozen=True)
class MetadataFilter:
    """Conditions that must all hold; equal filters match the same items.

    Attributes:
        conditions: pairs of field and condition, each field once; without any, every item passes.
    """

    conditions: tuple[tuple[str, AnyOf | Range], ...] = ()

    @classmethod
    def from_json(cls, value: Any) -> "MetadataFilter":
        """Validate the filter of a request, already decoded from JSON.

        `{"brand": "Acme", "size": [41, 42], "price": {"gte": 10, "lt": 50.5}, "in_stock": true}`: by the name of a
        field at the top level of the metadata, a value to equal, a list of values to equal any of, or a range of
        numbers with one or more of `gt`, `gte`, `lt` and `lte`. The module's docstring says what equals what.

        Args:
            value: an object of at most `MAX_CONDITIONS` fields with at most `MAX_VALUES` values in all.

        Raises:
            InvalidRequest: it names the field, its value and the expected values.
        """
        if not isinstance(value, Mapping):
            raise InvalidRequest(f"`filter` is {quoted(value)}; expected an object from fields to conditions")
        if len(value) > MAX_CONDITIONS:
            raise InvalidRequest(f"`filter` has {len(value)} fields; at most {MAX_CONDITIONS} are allowed")
        n_values = sum(len(condition) for condition in value.values() if isinstance(condition, list))
        if n_values > MAX_VALUES:
            raise InvalidRequest(f"`filter` lists {n_values} values; at most {MAX_VALUES} are allowed")
        return cls(tuple((_field(field), _condition(field, condition)) for field, condition in value.items()))


def comparable(value: Any) -> Comparable | None:
    """The value as it is compared; None for one that never matches.

    Integers beyond 64 bits are compared as 64-bit floating-point numbers.
    """
    if isinstance(value, bool):
        return TRUE if value else FALSE
    if isinstance(value, str):
        is_text = value.isascii() or not _SURROGATE.search(value)  # databases reject lone surrogates
        return value if is_text else None
    if isinstance(value, int | float):
        return _number(value)
    return None


def spelled_number(text: str) -> int | float | None:
    """The number that a text spells as JSON does, or None."""
    match = _NUMBER.fullmatch(text) if len(text) <= _MAX_NUMBER_CHARS else None
    if match is None:
        return None
    fraction, exponent = match.group(2, 3)
    return _number(int(text) if fraction is None and exponent is None else float(text))


def _number(value: int | float) -> int | float | None:
    try:
        number = value if isinstance(value, int) and -(2**63) <= value < 2**63 else float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _field(field: Any) -> str:
    if not isinstance(field, str) or _SURROGATE.search(field):
        raise InvalidRequest(f"`filter` has the field {quoted(field)}; expected text")
    return field


def _condition(field: str, value: Any) -> AnyOf | Range:
    name = f"`filter` on {quoted(field)}"
    if isinstance(value, Mapping):
        return _range(name, value)
    if not isinstance(value, list):
        return AnyOf((_value(name, value),))
    if not value:
        raise InvalidRequest(f"{name} lists no value; expected at least one")
    return AnyOf(tuple(dict.fromkeys(_value(name, element) for element in value)))


def _value(name: str, value: Any) -> Comparable:
    compared = comparable(value)
    if compared is None:
        raise InvalidRequest(f"{name} is {quoted(value)}; {_EXPECTED}")
    return compared


def _range(name: str, value: Mapping[str, Any]) -> Range:
    if not value:
        raise InvalidRequest(f"{name} is a range without bounds; expected one or more of {', '.join(_BOUNDS)}")
    bounds: dict[str, int | float] = {}
    for bound, limit in value.items():
        if bound not in _BOUNDS:
            raise InvalidRequest(f"{name} has the unknown bound {quoted(bound)}; expected one of: {', '.join(_BOUNDS)}")
        number = comparable(limit)
        if isinstance(limit, bool) or not isinstance(number, int | float):
            raise InvalidRequest(f"{name} has `{bound}` {quoted(limit)}; expected a finite number")
        bounds[bound] = number
    return Range(**bounds)
