"""Words of a text, in the form in which they are compared: without case and accents."""

import re
import unicodedata

_WORD = re.compile(r"\w+")
MAX_CHARS = 4_000
"""The characters of a text that count: descriptions may be whole pages."""


def words(text: str) -> list[str]:
    """Return the words of a text in order, case-folded and without accents (Unicode NFKD, combining marks removed).

    Letters of one word are those that Unicode counts as word characters, so it works in any language that separates
    words; of others, a run of characters counts as a word.
    """
    decomposed = unicodedata.normalize("NFKD", text[:MAX_CHARS].casefold())
    return _WORD.findall("".join(char for char in decomposed if not unicodedata.combining(char)))
