"""Valid and invalid filters."""

import pytest

from shared.catalogue.metadata_filter import (
    FALSE,
    MAX_CONDITIONS,
    MAX_VALUES,
    TRUE,
    AnyOf,
    MetadataFilter,
    Range,
    comparable,
    spelled_number,
)
from shared.errors import InvalidRequest


def test_every_kind_of_condition() -> None:
    given = {"brand": "Acme", "größe 👟": [41, "42", 41.0], "price": {"gte": 10, "lt": 50.5}, "new": True, "": 0}
    assert MetadataFilter.from_json(given).conditions == (
        ("brand", AnyOf(("Acme",))),
        ("größe 👟", AnyOf((41, "42"))),
        ("price", Range(gte=10, lt=50.5)),
        ("new", AnyOf((TRUE,))),
        ("", AnyOf((0,))),
    )
    assert MetadataFilter.from_json({}) == MetadataFilter()


def test_filters_are_equal_only_where_they_find_the_same() -> None:
    """They are remembered by that, and to Python `True == 1`."""
    filters = [MetadataFilter.from_json({"a": value}) for value in (True, 1, "1", [1, True], {"gte": 1}, {"lte": 1})]
    assert len(set(filters)) == len(filters)
    assert MetadataFilter.from_json({"a": 3}) == MetadataFilter.from_json({"a": [3.0]})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], r"`filter` is \[\]; expected an object"),
        ("price > 3", "`filter` is 'price > 3'; expected an object"),
        (None, "expected an object"),
        ({"a": None}, "on 'a' is None; expected text, a number"),
        ({"a": [1, None]}, "on 'a' is None; expected text, a number"),
        ({"a": [[1]]}, r"on 'a' is \[1\]; expected text, a number"),
        ({"a": []}, "on 'a' lists no value"),
        ({"a": {}}, "on 'a' is a range without bounds; expected one or more of gt, gte, lt, lte"),
        ({"a": {"ne": 3}}, "on 'a' has the unknown bound 'ne'; expected one of: gt, gte, lt, lte"),
        ({"a": {"gt": "3"}}, "on 'a' has `gt` '3'; expected a finite number"),
        ({"a": {"gt": True}}, "on 'a' has `gt` True; expected a finite number"),
        ({"a": {"gt": None}}, "on 'a' has `gt` None; expected a finite number"),
        ({"a": {"lte": float("nan")}}, "on 'a' has `lte` nan; expected a finite number"),
        ({"a": {"lt": float("inf")}}, "on 'a' has `lt` inf; expected a finite number"),
        ({"a": {"lt": 10**400}}, "on 'a' has `lt` 10+.*0; expected a finite number"),
        ({"a": float("-inf")}, "on 'a' is -inf; expected text"),
        ({"a": 10**400}, "on 'a' is 10+.*; expected text"),
        ({"a": "\ud800"}, "on 'a' is .*; expected text"),
        ({"\ud800": 1}, "has the field .*; expected text"),
        ({str(n): 1 for n in range(MAX_CONDITIONS + 1)}, "has 33 fields; at most 32 are allowed"),
        ({"a": [*range(MAX_VALUES)], "b": [1]}, "lists 1001 values; at most 1000 are allowed"),
    ],
)
def test_what_is_no_filter_is_refused_by_name(given: object, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said) as caught:
        MetadataFilter.from_json(given)
    assert len(str(caught.value)) < 300


def test_as_many_conditions_and_values_as_are_allowed() -> None:
    MetadataFilter.from_json({str(n): n for n in range(MAX_CONDITIONS)})
    MetadataFilter.from_json({"a": [*range(MAX_VALUES)]})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        *((value, value) for value in ("", "x" * 10_000, "a\0b", 0, -1, 2.5, 2**63 - 1, -(2**63))),
        (True, TRUE),
        (False, FALSE),
        (2**63, 2.0**63),
        *((value, None) for value in (None, [], {}, float("nan"), float("inf"), 10**400, -(10**400), "\udfff")),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_values_in_the_form_in_which_they_are_compared(value: object, expected: object) -> None:
    found = comparable(value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3", 3), ("-0.5", -0.5), ("3.0", 3.0), ("1e3", 1000.0), ("9" * 30, float("9" * 30)), ("-0", 0)]
    + [
        (text, None) for text in ("", "03", " 3", "3 ", "+3", ".5", "5.", "1e999", "0x1", "1_000", "٣", "nan", "1" * 50)
    ],
)
def test_text_that_spells_a_number(text: str, expected: float | None) -> None:
    assert spelled_number(text) == expected
