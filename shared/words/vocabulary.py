"""The words of a query as the catalogue uses them: plurals and misspellings are replaced, others are unknown."""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from shared.words.lexical_index import MAX_WORD_CHARS, LexicalIndex
from shared.words.tokens import rejoined, words

MAX_TEXT_CHARS = 400
"""Of the text of a query."""

_POSSESSIVE = re.compile(r"['’]s\b", re.IGNORECASE)
_PLURALS = (  # endings of singular and plural; accents are gone
    ("", "s"),
    ("", "es"),
    ("y", "ies"),  # English: accessory, accessories
    ("f", "ves"),  # shelf
    ("fe", "ves"),  # knife
    ("ao", "oes"),  # Portuguese: botão, botões
    ("ao", "aes"),  # pão
    ("l", "is"),  # azul
    ("il", "is"),  # infantil
    ("m", "ns"),  # marrom
    ("z", "ces"),  # Spanish: luz
)
_MIN_INFLECTED = 3
_MIN_CORRECTED, _MAX_CORRECTED = 4, 32
_MAX_CORRECTIONS = 16
"""Words of a query that are corrected, so that a hostile one takes no longer than a few milliseconds."""


@dataclass(frozen=True)
class KnownWord:
    """A word of a query that the catalogue uses.

    Attributes:
        word: as the catalogue spells it; the most frequent of `forms`.
        forms: the words that count as the same: singular and plural.
    """

    word: str
    forms: tuple[str, ...]


@dataclass(frozen=True)
class UnderstoodText:
    """A text in the words of the catalogue.

    Attributes:
        known: the words that it uses, in order, each once.
        unknown_words: the others, in order, each once, composed (NFC).
    """

    known: tuple[KnownWord, ...]
    unknown_words: tuple[str, ...]

    @property
    def text(self) -> str:
        """The text of the known words, composed (NFC)."""
        return " ".join(_shown(known.word for known in self.known))


class Vocabulary:
    """The words that a catalogue uses."""

    def __init__(self, index: LexicalIndex) -> None:
        """Use the words of an index."""
        self._index = index

    def understand(self, text: str) -> UnderstoodText:
        """Find the words of a text among those of the catalogue.

        Case, accents, and the endings of plurals don't matter. A word that the catalogue does not use, of 4 letters or
        more and without digits, is replaced by the most frequent one within one edit: a letter that is missing, too
        much, wrong, or swapped with the next.

        Raises:
            DamagedSnapshot: the index is damaged.
        """
        given = list(dict.fromkeys(words(_POSSESSIVE.sub("", text))))
        forms = {word: _forms(word) for word in given if len(word) <= MAX_WORD_CHARS}
        frequencies = self._index.frequencies(list(dict.fromkeys(chain(*forms.values()))))
        known: dict[str, KnownWord] = {}
        unknown, n_corrections = [], 0
        for word in given:
            found = _known(word, forms.get(word, ()), frequencies)
            if found is None and n_corrections < _MAX_CORRECTIONS and _may_be_misspelt(word):
                n_corrections += 1
                found = self._corrected(word)
            if found is None:
                unknown.append(word)
            else:
                known.setdefault(found.word, found)
        return UnderstoodText(tuple(known.values()), tuple(_shown(unknown)))

    def _corrected(self, word: str) -> KnownWord | None:
        frequencies = self._index.frequencies(list(dict.fromkeys(edits(word, self._index.alphabet))))
        if not frequencies:
            return None
        best = min(frequencies, key=lambda candidate: (-frequencies[candidate], candidate))
        forms = _forms(best)
        return _known(best, forms, self._index.frequencies(forms))


def edits(word: str, alphabet: str) -> Iterator[str]:
    """Yield all texts within one edit of a word (Norvig, 2007, "How to Write a Spelling Corrector")."""
    for end in range(len(word) + 1):
        left, right = word[:end], word[end:]
        if right:
            yield left + right[1:]
        if len(right) > 1:
            yield left + right[1] + right[0] + right[2:]
        for letter in alphabet:
            yield left + letter + right
            if right:
                yield left + letter + right[1:]


def _shown(compared: Iterable[str]) -> list[str]:
    """Words as clients write them: composed, where they are compared decomposed, and not in pairs of characters."""
    return [unicodedata.normalize("NFC", word) for word in rejoined(compared)]


def _may_be_misspelt(word: str) -> bool:
    return _MIN_CORRECTED <= len(word) <= _MAX_CORRECTED and not _has_digits(word)


def _has_digits(word: str) -> bool:
    return any(map(str.isnumeric, word))


def _forms(word: str) -> list[str]:
    """The word itself, and its likely singular and plural forms."""
    if len(word) < _MIN_INFLECTED or _has_digits(word):
        return [word]
    singular = [word.removesuffix(end) + ending for ending, end in _PLURALS if word.endswith(end)]
    plural = [word.removesuffix(ending) + end for ending, end in _PLURALS if word.endswith(ending)]
    return list(dict.fromkeys([word, *(form for form in singular if len(form) >= _MIN_INFLECTED), *plural]))


def _known(word: str, forms: Sequence[str], frequencies: Mapping[str, int]) -> KnownWord | None:
    """The word if the catalogue uses it, else its most frequent form; None if it uses neither."""
    used = tuple(form for form in forms if form in frequencies)
    if not used:
        return None
    return KnownWord(word if word in used else max(used, key=lambda form: frequencies[form]), used)
