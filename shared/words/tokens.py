"""Words of a text, in the form in which they are compared: without case and accents."""

import re
import unicodedata
from collections.abc import Iterable

MAX_CHARS = 4_000
"""The characters of a text that count: descriptions may be whole pages."""

_TRADE_MARKS = str.maketrans("™℠", "  ")  # NFKD makes letters of them, which would be part of the word before
_PLAIN = {"ı": "i", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "ħ": "h", "ŧ": "t", "þ": "th", "æ": "ae", "œ": "oe"}
_ZERO_WIDTH_SPACE, _GRAPHEME_JOINER, _TATWEEL = "\u200b", "\u034f", "\u0640"
_MAX_CACHED = 0x10000
_RANGES = (  # Thai, Lao; Burmese; Khmer; Han; kana
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff\u3041-\u30ff\u31f0-\u31ff"
)
_UNSPACED = re.compile(f"[{_RANGES}]")
_PARTS = re.compile(f"[{_RANGES}]+|[^{_RANGES}]+")
_VOICED = re.compile(r"[\u3041-\u30ff][\u3099\u309a]")


class _Folding(dict[int, str | None]):
    """A table from the characters of a decomposed text to letters, nothing, or a space between words."""

    def __missing__(self, code: int) -> str | None:
        folded = _folded(chr(code))
        if code < _MAX_CACHED:
            self[code] = folded
        return folded


def words(text: str) -> list[str]:
    """Return the words of a text in order, case-folded and without accents (Unicode NFKD, accents removed).

    Letters of one word are those that Unicode counts as letters, digits, and marks that are more than accents, such as
    the vowels of Hindi. Languages that do not separate words have their overlapping pairs of characters instead, as in
    Lucene's `CJKBigramFilter`.
    """
    letters = _letters(text)
    if text.isascii() or not _UNSPACED.search(letters):
        return letters.split()
    return [word for run in letters.split() for part in _PARTS.findall(run) for word in _pairs(part)]


def indexed_words(text: str) -> set[str]:
    """Return the words that find a text: its own, and the single characters of languages that do not separate words."""
    return {*words(text), *(() if text.isascii() else _UNSPACED.findall(_letters(text)))}


def rejoined(parts: Iterable[str]) -> list[str]:
    """Join pairs of characters that overlap, as `words` made them, to what they are pairs of."""
    whole: list[str] = []
    for part in parts:
        if whole and len(part) == 2 and whole[-1][-1] == part[0] and _UNSPACED.match(part):
            whole[-1] += part[1]
        else:
            whole.append(part)
    return whole


def _letters(text: str) -> str:
    """The text without case and accents, with spaces for what is in no word, and voiced kana as one character each."""
    decomposed = unicodedata.normalize("NFKD", text[:MAX_CHARS].translate(_TRADE_MARKS))
    folded = decomposed.casefold().translate(_FOLDING)
    return folded if text.isascii() else _VOICED.sub(lambda kana: unicodedata.normalize("NFC", kana.group()), folded)


def _pairs(run: str) -> list[str]:
    if len(run) < 2 or not _UNSPACED.match(run):
        return [run]
    return [run[start : start + 2] for start in range(len(run) - 1)]


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
