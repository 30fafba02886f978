"""Read access to `words.sqlite`: the inverted index from the words of a catalogue to its items.

An entry is a word and the numbers of all items that are described by it, as one blob, like those of the metadata index
(`shared/catalogue/metadata_index.py`): a common word is read at once, and nothing is held in memory.
"""

import json
import math
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shared.database.connections import Connections
from shared.database.read_only import require_no_faults
from shared.deadline import NO_DEADLINE, Deadline
from shared.errors import DamagedSnapshot, SnapshotError

SCHEMA = """
CREATE TABLE words (word TEXT PRIMARY KEY, n_items INTEGER NOT NULL, numbers BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE summary (n_items INTEGER NOT NULL, alphabet TEXT NOT NULL);
"""
"""`numbers` are ascending; `summary` has one row: the number of all items, and the most frequent letters of words."""

NUMBERS = np.dtype("<u4")
MAX_WORD_CHARS = 64
"""Longer words are not indexed."""
MAX_ALPHABET = 64
"""So many letters are tried where a word is misspelt."""

_FREQUENCIES = "SELECT word, n_items FROM words WHERE word IN (SELECT value FROM json_each(?))"
_NUMBERS_OF = "SELECT numbers FROM words WHERE word IN (SELECT value FROM json_each(?))"
_FAULTS = """
SELECT sum(typeof(word) <> 'text' OR length(word) NOT BETWEEN 1 AND ?),
    sum(typeof(numbers) <> 'blob' OR typeof(n_items) <> 'integer' OR n_items < 1 OR length(numbers) <> 4 * n_items)
FROM words"""
_FAULT_NAMES = (
    f"a word that is not text of 1 to {MAX_WORD_CHARS} characters",
    "a word whose items do not have the length that it says",
)


class LexicalIndex:
    """The words that describe items, and these items; from any thread.

    Attributes:
        n_items: number of items that were indexed, with or without words.
        alphabet: the most frequent letters of the words, at most `MAX_ALPHABET`.
    """

    def __init__(self, path: Path, deadline: Deadline = NO_DEADLINE) -> None:
        """Open the file, without locks since it is never written again.

        Args:
            path: of the file.
            deadline: for opening it.

        Raises:
            SnapshotError: it is missing, or not a database of words.
        """
        self._path = path
        self._database = Connections(path, (SCHEMA,), "words")
        try:
            with self._database.until(deadline):
                rows = self._database.execute("SELECT n_items, alphabet FROM summary LIMIT 2").fetchall()
            if len(rows) != 1:
                raise SnapshotError(f"it has {len(rows)} summaries; expected 1")
            [(n_items, alphabet)] = rows
            if not isinstance(n_items, int) or not isinstance(alphabet, str) or len(alphabet) > MAX_ALPHABET:
                raise SnapshotError("its summary has invalid values")
        except (sqlite3.Error, OSError, SnapshotError) as error:
            self.close()
            raise SnapshotError(f"{path} can't be read: {error}") from error
        self.n_items = n_items
        self.alphabet = alphabet

    def validate(self, deadline: Deadline = NO_DEADLINE) -> None:
        """Check every word.

        Raises:
            SnapshotError: a value is invalid.
        """
        try:
            with self._database.until(deadline):
                [faults] = self._database.connection().execute(_FAULTS, (MAX_WORD_CHARS,))
        except sqlite3.Error as error:
            raise SnapshotError(f"{self._path} can't be read: {error}") from error
        require_no_faults(self._path, faults, _FAULT_NAMES)

    def frequencies(self, words: Sequence[str]) -> Mapping[str, int]:
        """Return those of the words that the catalogue uses, with the number of items that each describes.

        Raises:
            DamagedSnapshot: the file is damaged.
        """
        rows = self._database.query(_FREQUENCIES, (json.dumps(words),))
        with self._database.errors():
            return {word: int(n_items) for word, n_items in rows}

    def items_with(self, words: Sequence[str]) -> NDArray[np.uint32]:
        """Return the numbers of all items that have any of the words, ascending and distinct.

        Raises:
            DamagedSnapshot: the file is damaged.
        """
        rows = self._database.query(_NUMBERS_OF, (json.dumps(words),))
        with self._database.errors():
            lists = [np.frombuffer(numbers, NUMBERS) for (numbers,) in rows]
        if not all(self._are_items(numbers) for numbers in lists):
            raise DamagedSnapshot(
                f"the snapshot's words have invalid items; expected ascending numbers below {self.n_items}"
            )
        if len(lists) == 1:
            return lists[0]
        return np.unique(np.concatenate(lists)) if lists else np.zeros(0, NUMBERS)

    def _are_items(self, numbers: NDArray[np.uint32]) -> bool:
        ascending = bool((numbers[1:] > numbers[:-1]).all())
        return ascending and len(numbers) > 0 and int(numbers[-1]) < self.n_items

    def weight(self, n_items: int) -> float:
        """Return the weight of a word in so many items: the inverse document frequency of Okapi BM25."""
        return math.log1p(max(0.0, self.n_items - n_items + 0.5) / (n_items + 0.5))

    def close(self) -> None:
        """Close every thread's connection; no thread may use the index any more."""
        self._database.close()
