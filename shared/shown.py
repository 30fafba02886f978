"""Show a caller's value in a message: enough to recognise it, however large it is."""

from reprlib import Repr
from typing import Any

MAX_SHOWN_CHARS = 80
_LONGEST_TEXT = 60

_repr = Repr()
_repr.maxlist = _repr.maxtuple = _repr.maxdict = 4
_repr.maxlevel = 2
_repr.maxlong = _LONGEST_TEXT
_repr.maxother = _LONGEST_TEXT


def shown(value: Any) -> str:
    """A value as Python spells it, at most `MAX_SHOWN_CHARS` characters; `…` stands for what was left out.

    The cost is bounded too: long text is cut before it is spelled.
    """
    if isinstance(value, str | bytes) and len(value) > _LONGEST_TEXT:
        text = f"{value[:_LONGEST_TEXT]!r}…"
    else:
        text = repr(value) if isinstance(value, str | bytes) else _repr.repr(value)
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[: MAX_SHOWN_CHARS - 1]}…"


def shortened(text: str, max_chars: int = MAX_SHOWN_CHARS) -> str:
    """Text that is shown without quotes, with `…` for what is too long."""
    return text if len(text) <= max_chars else f"{text[: max_chars - 1]}…"
