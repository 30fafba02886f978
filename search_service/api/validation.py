"""Validation of the fields of a request, with messages that say what was expected.

names and values ─convert text─▶ typed values ─validate─▶ an instance of the model
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from search_service.settings import ServiceSettings
from shared.catalogue.metadata_filter import MetadataFilter
from shared.errors import InvalidEmbedding, InvalidRequest
from shared.expected_values import expected_element
from shared.options import Option, options_of
from shared.text.shorten import quoted

_Model = TypeVar("_Model")
NO_TEXTS: Mapping[str, str] = {}
_INTEGER = re.compile(r"-?[0-9]{1,18}")
_adapter_of: Callable[[Any], TypeAdapter[Any]] = cache(TypeAdapter)
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")


def reject_unknown(kind: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Reject unknown names.

    Args:
        kind: what they name: `field` or `argument`.
        names: the names that were given.
        known: the valid ones.

    Raises:
        InvalidRequest: one of them is unknown.
    """
    for name in names:
        if name not in known:
            raise InvalidRequest(f"unknown {kind} {quoted(name)}; expected {_one_of(known)}")


def _one_of(known: Iterable[str]) -> str:
    names = ", ".join(known)
    return f"one of: {names}" if names else "none"


def validated(
    model: type[_Model], given: Mapping[str, Any], settings: ServiceSettings, texts: Mapping[str, str] = NO_TEXTS
) -> _Model:
    """Return an instance of a model with these values.

    Args:
        model: declares the fields.
        given: typed values by name.
        settings: limits.
        texts: further values, as text, which is converted; text of no such value stays text, which is not valid.

    Raises:
        InvalidEmbedding: the embedding is not a list of numbers.
        InvalidRequest: another value is not valid.
    """
    options = options_of(model)
    values = {**given, **{name: _from_text(options[name], text) for name, text in texts.items()}}
    try:
        instance: _Model = _adapter_of(model).validate_python(values, context=settings)
        return instance
    except ValidationError as error:
        name, *path = error.errors(include_url=False, include_context=False)[0]["loc"]
        option, index = options[str(name)], next((step for step in path if isinstance(step, int)), None)
        element = expected_element(option.schema)
        if index is not None and element is not None:
            wrong = f"has {quoted(values[option.name][index])} at {index}; expected {element}"
        else:
            wrong = f"is {quoted({**given, **texts}.get(option.name))}; expected {option.expected(settings)}"
        rejected = InvalidEmbedding if name == "embedding" else InvalidRequest
        raise rejected(f"`{name}` {wrong}") from None


def _from_text(option: Option, text: str) -> Any:
    return _FROM_TEXT.get(option.type, str)(text)


def _integer(text: str) -> int | str:
    return int(text) if _INTEGER.fullmatch(text) else text


def _number(text: str) -> float | str:
    return float(text) if _NUMBER.fullmatch(text) else text


def _json(text: str) -> Any:
    try:
        return from_json(text)
    except ValueError:
        return text


_FROM_TEXT: Mapping[Any, Callable[[str], Any]] = {
    int: _integer,
    float: _number,
    list: lambda text: text.split(",") if text else [],
    MetadataFilter: _json,
}
