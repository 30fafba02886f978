"""Words of a text, in the form in which they are compared: without case and accents."""

import unicodedata

MAX_CHARS = 4_000
"""The characters of a text that count: descriptions may be whole pages."""

_TRADE_MARKS = str.maketrans("™℠", "  ")  # NFKD makes letters of them, which would be part of the word before
_PLAIN = {"ı": "i", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ŧ": "t", "þ": "th", "æ": "ae", "œ": "oe"}
_ZERO_WIDTH_SPACE, _GRAPHEME_JOINER, _TATWEEL = "\u200b", "\u034f", "\u0640"
_MAX_CACHED = 0x10000


class _Folding(dict[int, str | None]):
    """What becomes of a character of a decomposed text: letters, nothing, or a space between words."""

    def __missing__(self, code: int) -> str | None:
        folded = _folded(chr(code))
        if code < _MAX_CACHED:
            self[code] = folded
        return folded


def words(text: str) -> list[str]:
    """Return the words of a text in order, case-folded and without accents (Unicode NFKD, accents removed).

    Letters of one word are those that Unicode counts as letters, digits, and marks that are more than accents, such as
    the vowels of Thai or Hindi. So it works in any language that separates words; of others, a run of characters counts
    as a word.
    """
    decomposed = unicodedata.normalize("NFKD", text[:MAX_CHARS].translate(_TRADE_MARKS))
    return decomposed.casefold().translate(_FOLDING).split()


def _folded(char: str) -> str | None:
    if char.isalnum():
        return None if char == _TATWEEL else _PLAIN.get(char, char)
    category = unicodedata.category(char)
    if category.startswith("M"):
        return None if _is_accent(char, category) else char
    # Soft hyphens, joiners and marks of direction are inside of words.
    return None if category == "Cf" and char != _ZERO_WIDTH_SPACE else " "


def _is_accent(char: str, category: str) -> bool:
    """Return True for marks that may be left out, by their combining classes (Unicode Standard Annex 44)."""
    combining_class = unicodedata.combining(char)
    if combining_class:
        is_voicing_or_virama, is_vowel_or_tone = combining_class in (8, 9), 36 < combining_class < 200
        return not (is_voicing_or_virama or is_vowel_or_tone)
    return category == "Me" or char == _GRAPHEME_JOINER or "VARIATION SELECTOR" in unicodedata.name(char, "")


_FOLDING = _Folding()
