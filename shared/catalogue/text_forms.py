"""Unicode normal forms: the same word may be spelled with composed (NFC) or decomposed (NFD) accents."""

import unicodedata

_LONGEST_NAME = 500  # as the indexer takes
"""Longer text is compared as it is: normalising takes time quadratic in the number of combining marks."""


def text_forms(text: str) -> tuple[str, ...]:
    """A name as given, and its NFC and NFD where they differ, in this order, each once."""
    if text.isascii() or len(text) > _LONGEST_NAME:
        return (text,)
    decomposed = unicodedata.normalize("NFD", text)
    # Of the decomposed text: its marks are in order, which is what takes long.
    return tuple(dict.fromkeys((text, unicodedata.normalize("NFC", decomposed), decomposed)))
