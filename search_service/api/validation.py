"""Check the fields of a request by a model, and say of a wrong one what was found and what was wanted.

names and values ─turn text into what it spells─▶ typed values ─check by a model─▶ the model
"""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from search_service.api.schemas import WANTED, WANTED_ELEMENT
from search_service.settings import ServiceSettings
from shared.errors import InvalidEmbedding, InvalidRequest
from shared.text.shorten import quoted

_Model = TypeVar("_Model", bound=BaseModel)
NO_TEXTS: Mapping[str, str] = {}
_WHOLE = re.compile(r"-?[0-9]{1,18}")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")


def refuse_unknown(what: str, names: Iterable[str], known: tuple[str, ...]) -> None:
    """Refuse names that there aren't.

    Args:
        what: they name: a field, an argument.
        names: that were given.
        known: those that there are.

    Raises:
        InvalidRequest: one of them is unknown.
    """
    for name in names:
        if name not in known:
            there_are = f"there are {', '.join(known)}" if known else "there is none here"
            raise InvalidRequest(f"there is no {what} {quoted(name)}; {there_are}")


def checked(
    model: type[_Model], given: Mapping[str, Any], settings: ServiceSettings, texts: Mapping[str, str] = NO_TEXTS
) -> _Model:
    """Check values.

    Args:
        model: says what they may be.
        given: typed values by name.
        settings: bounds.
        texts: further values, which text spells; what spells nothing stays text for the model to refuse.

    Raises:
        InvalidEmbedding: no numbers.
        InvalidRequest: another value that can't be.
    """
    values = {**given, **{name: _SPELLED.get(name, str)(text) for name, text in texts.items()}}
    try:
        return model.model_validate(values, context=settings)
    except ValidationError as error:
        name, *where = error.errors(include_url=False, include_context=False)[0]["loc"]
        place = next((step for step in where if isinstance(step, int)), None)
        if name in WANTED_ELEMENT and place is not None:
            raise _refusal(str(name), f"has {quoted(values[str(name)][place])} at {place}", WANTED_ELEMENT) from None
        wanted = {name: text.format_map(vars(settings)) for name, text in WANTED.items()}
        raise _refusal(str(name), f"is {quoted({**given, **texts}.get(str(name)))}", wanted) from None


def _refusal(name: str, found: str, wanted: Mapping[str, str]) -> InvalidRequest | InvalidEmbedding:
    refused = InvalidEmbedding if name == "embedding" else InvalidRequest
    return refused(f"`{name}` {found}; wanted {wanted[name]}")


def _whole(text: str) -> int | str:
    return int(text) if _WHOLE.fullmatch(text) else text


def _number(text: str) -> float | str:
    return float(text) if _NUMBER.fullmatch(text) else text


def _json(text: str) -> Any:
    try:
        return from_json(text)
    except ValueError:
        return text


_SPELLED: Mapping[str, Callable[[str], Any]] = {
    "top_k": _whole,
    "probe": _whole,
    "min_score": _number,
    "offset": _whole,
    "filter": _json,
    "collapse_above": _number,
    "fields": lambda text: text.split(",") if text else [],
    "position": _whole,
    "examples": _whole,
}
