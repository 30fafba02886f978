"""Descriptions of the values that a JSON schema accepts, for error messages and documentation."""

from collections.abc import Mapping
from typing import Any

from pydantic.json_schema import JsonSchemaValue

MAXIMUM_SETTING = "x-maximum-setting"
"""The keyword of a limit that is a setting of the service: the setting's name."""
_SCALARS = ("integer", "number", "string")
_FORMATS = {"path": "a path", "uri": "a URL"}


def with_limits(schema: Any, limits: object) -> Any:
    """Return a JSON schema with the values of the settings that `MAXIMUM_SETTING` names; without, where None."""
    if isinstance(schema, list):
        return [with_limits(part, limits) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    resolved = {name: with_limits(part, limits) for name, part in schema.items() if name != MAXIMUM_SETTING}
    if MAXIMUM_SETTING in schema and limits is not None:
        resolved["maxItems" if schema.get("type") == "array" else "maximum"] = getattr(limits, schema[MAXIMUM_SETTING])
    return resolved


def expected(schema: JsonSchemaValue) -> str:
    """Describe the values that a JSON schema accepts, as `an integer from 1 to 100`."""
    kind = schema.get("type")
    if "anyOf" in schema:
        return " or ".join(expected(part) for part in schema["anyOf"] if part.get("type") != "null")
    if "const" in schema:
        return str(schema["const"])
    if "enum" in schema:
        return f"one of: {', '.join(map(str, schema['enum']))}"
    if kind in ("integer", "number"):
        multiple = f", a multiple of {schema['multipleOf']}" if "multipleOf" in schema else ""
        return f"{'an' if kind == 'integer' else 'a'} {kind}{_range(schema)}{multiple}"
    if kind == "array":
        return f"a list of {_count(schema)}{_plural(schema.get('items', {}))}"
    if kind == "string":
        text = "a non-empty string" if schema.get("minLength") else "a string"
        limit = f" of at most {_number(schema['maxLength'])} characters" if "maxLength" in schema else ""
        return _FORMATS.get(schema.get("format", ""), text + limit)
    return "true or false" if kind == "boolean" else "a JSON object"


def expected_element(schema: JsonSchemaValue) -> str | None:
    """Describe the elements of the lists that a JSON schema accepts; None where it accepts none, or of objects."""
    lists = [part for part in (schema, *schema.get("anyOf", ())) if part.get("type") == "array"]
    return expected(lists[0]["items"]) if lists and lists[0]["items"].get("type") in _SCALARS else None


def _range(schema: JsonSchemaValue) -> str:
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None and most is not None:
        return f" from {_number(least)} to {_number(most)}"
    limits = {
        "at least": least,
        "greater than": schema.get("exclusiveMinimum"),
        "at most": most,
        "less than": schema.get("exclusiveMaximum"),
    }
    text = " and ".join(f"{words} {_number(limit)}" for words, limit in limits.items() if limit is not None)
    return f" of {text}" if text.startswith("at ") else f" {text}".rstrip()


def _count(schema: JsonSchemaValue) -> str:
    least, most = schema.get("minItems"), schema.get("maxItems")
    if most is None:
        return ""
    return f"{least} to {_number(most)} " if least else f"at most {_number(most)} "


def _number(limit: float | str) -> str:
    return limit if isinstance(limit, str) else f"{limit:,}"


def _plural(schema: JsonSchemaValue) -> str:
    if schema.get("type") not in _SCALARS:
        return "objects"
    return f"{'non-empty ' if schema.get('minLength') else ''}{schema['type']}s"
