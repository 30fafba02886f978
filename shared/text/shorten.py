"""Shortened values and text for messages: enough to identify a caller's value, however large it is."""

from reprlib import Repr
from typing import Any

MAX_CHARS = 80
_MAX_TEXT_CHARS = 60

_repr = Repr()
_repr.maxlist = _repr.maxtuple = _repr.maxdict = 4
_repr.maxlevel = 2
_repr.maxlong = _MAX_TEXT_CHARS
_repr.maxother = _MAX_TEXT_CHARS


def quoted(value: Any) -> str:
    """The `repr` of a value, cut to `MAX_CHARS` characters with `…`.

    The cost is bounded too: long text is cut first.
    """
    if isinstance(value, str | bytes) and len(value) > _MAX_TEXT_CHARS:
        text = f"{value[:_MAX_TEXT_CHARS]!r}…"
    else:
        text = repr(value) if isinstance(value, str | bytes) else _repr.repr(value)
    return shortened(text)


def shortened(text: str, max_chars: int = MAX_CHARS) -> str:
    """Text cut to `max_chars` characters with `…`."""
    return text if len(text) <= max_chars else f"{text[: max_chars - 1]}…"
