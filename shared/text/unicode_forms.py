"""Unicode normal forms: the same word may be spelled with composed (NFC) or decomposed (NFD) accents."""

import unicodedata

_MAX_CHARS = 500  # of a name, as the indexer's
"""Longer text is not normalised, since that takes time quadratic in the number of combining marks."""


def unicode_forms(text: str) -> tuple[str, ...]:
    """The text as given, then its NFC and its NFD where they differ."""
    if text.isascii() or len(text) > _MAX_CHARS:
        return (text,)
    decomposed = unicodedata.normalize("NFD", text)
    # NFC of the decomposed text, whose marks are ordered already: ordering them is what takes long.
    return tuple(dict.fromkeys((text, unicodedata.normalize("NFC", decomposed), decomposed)))
