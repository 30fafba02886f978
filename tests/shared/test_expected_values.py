"""Descriptions of JSON schemas."""

import pytest

from shared.expected_values import MAXIMUM_SETTING, expected, expected_element, with_limits


@pytest.mark.parametrize(
    ("schema", "text"),
    [
        ({"type": "integer", "minimum": 0, "maximum": 5000}, "an integer from 0 to 5,000"),
        ({"type": "integer", "minimum": 4, "maximum": 8, "multipleOf": 2}, "an integer from 4 to 8, a multiple of 2"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, "a number greater than 0 and at most 1"),
        ({"type": "number", "maximum": 1}, "a number of at most 1"),
        ({"type": "number"}, "a number"),
        ({"type": "string"}, "a string"),
        ({"type": "string", "minLength": 1}, "a non-empty string"),
        ({"type": "string", "format": "uri"}, "a URL"),
        ({"enum": ["a", "b"]}, "one of: a, b"),
        ({"anyOf": [{"type": "integer", "minimum": 1}, {"const": "auto"}]}, "an integer of at least 1 or auto"),
        ({"anyOf": [{"type": "boolean"}, {"type": "null"}]}, "true or false"),
        ({"type": "array", "items": {"type": "number"}}, "a list of numbers"),
        (
            {"type": "array", "maxItems": 9, "items": {"type": "string", "minLength": 1}},
            "a list of at most 9 non-empty strings",
        ),
        ({"type": "array", "minItems": 1, "maxItems": 9, "items": {"$ref": "#"}}, "a list of 1 to 9 objects"),
        ({"type": "object"}, "a JSON object"),
    ],
)
def test_a_schema_is_described(schema: dict, text: str) -> None:
    assert expected(schema) == text


def test_elements_are_described_where_they_are_no_objects() -> None:
    numbers = {"type": "array", "items": {"type": "number"}}
    assert expected_element(numbers) == expected_element({"anyOf": [numbers, {"type": "null"}]}) == "a number"
    assert expected_element({"type": "array", "items": {"$ref": "#"}}) is None
    assert expected_element({"type": "number"}) is None


def test_settings_become_limits() -> None:
    schema = {"a": [{"type": "integer", MAXIMUM_SETTING: "real"}, {"type": "array", MAXIMUM_SETTING: "real"}]}
    limited = {"a": [{"type": "integer", "maximum": 3}, {"type": "array", "maxItems": 3}]}
    assert with_limits(schema, 3) == limited
    assert with_limits(schema, None) == {"a": [{"type": "integer"}, {"type": "array"}]}
