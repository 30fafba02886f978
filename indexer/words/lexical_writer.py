"""Writing of `words.sqlite`, the inverted index from words to items."""

import sqlite3
from array import array
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np

from shared.words.lexical_index import MAX_ALPHABET, MAX_WORD_CHARS, NUMBERS, SCHEMA
from shared.words.tokens import indexed_words

_STAGED = "CREATE TEMP TABLE staged (word, numbers)"
_SORTED = "SELECT word, numbers FROM temp.staged ORDER BY word, rowid"
_STAGE_SIZE = 5_000_000


def write_lexical_index(path: Path, texts: Iterable[str]) -> None:
    """Write a new `words.sqlite`.

    Args:
        path: of the file.
        texts: for each item of the snapshot, in the order of their numbers, the text that describes it; it may be
            empty.
    """
    letters: Counter[str] = Counter()
    n_items = n_staged = 0
    numbers_of: dict[str, array[int]] = {}
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(SCHEMA)
        connection.execute(_STAGED)
        for number, text in enumerate(texts):
            n_items += 1
            for word in indexed_words(text):
                if len(word) <= MAX_WORD_CHARS:
                    numbers_of.setdefault(word, array("I")).append(number)
                    n_staged += 1
            if n_staged > _STAGE_SIZE:
                _stage(connection, numbers_of, letters)
                n_staged = 0
        _stage(connection, numbers_of, letters)
        by_word = groupby(connection.execute(_SORTED), key=itemgetter(0))
        entries = ((word, b"".join(numbers for _, numbers in parts)) for word, parts in by_word)
        connection.executemany(
            "INSERT INTO words VALUES (?, ?, ?)",
            ((word, len(numbers) // NUMBERS.itemsize, numbers) for word, numbers in entries),
        )
        alphabet = "".join(letter for letter, _ in letters.most_common(MAX_ALPHABET))
        connection.execute("INSERT INTO summary VALUES (?, ?)", (n_items, alphabet))
        connection.execute("DROP TABLE temp.staged")


def _stage(connection: sqlite3.Connection, numbers_of: dict[str, "array[int]"], letters: Counter[str]) -> None:
    """Move the items of all words to a temporary table, so that memory holds only a part of them."""
    rows = ((word, np.asarray(numbers, NUMBERS).tobytes()) for word, numbers in sorted(numbers_of.items()))
    connection.executemany("INSERT INTO temp.staged VALUES (?, ?)", rows)
    for word in numbers_of:
        letters.update(letter for letter in word if not letter.isnumeric())
    numbers_of.clear()
