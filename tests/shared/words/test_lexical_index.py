import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from shared.errors import DamagedSnapshot, SnapshotError
from shared.words.lexical_index import MAX_ALPHABET, SCHEMA, LexicalIndex

_ENTRIES = [("blue", (1,)), ("shoe", (0, 2)), ("shoes", (1, 2))]


def _written(directory: Path, *, schema: str = SCHEMA, n_items: object = 3, alphabet: object = "hseo") -> Path:
    path = directory / "words.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(schema)
        for word, numbers in _ENTRIES:
            blob = np.array(numbers, dtype="<u4").tobytes()
            connection.execute("INSERT INTO words VALUES (?, ?, ?)", (word, len(numbers), blob))
        connection.execute("INSERT INTO summary VALUES (?, ?)", (n_items, alphabet))
    return path


def _changed(path: Path, statement: str) -> Path:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)
    return path


def test_it_knows_the_words_and_their_items(tmp_path: Path) -> None:
    with closing(LexicalIndex(_written(tmp_path))) as index:
        assert (index.n_items, index.alphabet) == (3, "hseo")
        assert index.frequencies(["shoe", "hat", "blue"]) == {"shoe": 2, "blue": 1}
        assert index.items_with(["blue"]).tolist() == [1]
        assert index.items_with(["shoe", "shoes"]).tolist() == [0, 1, 2]
        assert index.items_with(["hat"]).tolist() == []


def test_many_words_are_looked_up_at_once(tmp_path: Path) -> None:
    with closing(LexicalIndex(_written(tmp_path))) as index:
        assert index.frequencies([f"w{number}" for number in range(40_000)] + ["shoe"]) == {"shoe": 2}


def test_rare_words_weigh_more(tmp_path: Path) -> None:
    with closing(LexicalIndex(_written(tmp_path))) as index:
        assert index.weight(1) == pytest.approx(np.log(1 + 2.5 / 1.5))
        assert index.weight(1) > index.weight(2) > index.weight(3) > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("CREATE VIEW more AS SELECT * FROM words", "unknown schema"),
        ("CREATE TRIGGER t AFTER INSERT ON words BEGIN SELECT 1; END", "unknown schema"),
        ("DELETE FROM summary", "0 summaries"),
        ("INSERT INTO summary VALUES (3, 'a')", "2 summaries"),
        ("UPDATE summary SET n_items = 'many'", "invalid values"),
        (f"UPDATE summary SET alphabet = '{'a' * (MAX_ALPHABET + 1)}'", "invalid values"),
    ],
)
def test_a_hostile_file_is_not_opened(tmp_path: Path, change: str, message: str) -> None:
    with pytest.raises(SnapshotError, match=message):
        LexicalIndex(_changed(_written(tmp_path), change))


def test_a_file_that_is_no_database_or_is_missing_is_not_opened(tmp_path: Path) -> None:
    path = tmp_path / "words.sqlite"
    with pytest.raises(SnapshotError, match="can't be read"):
        LexicalIndex(path)
    path.write_bytes(b"SQLite format 3\0" + bytes(4000))
    with pytest.raises(SnapshotError, match="can't be read"):
        LexicalIndex(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("UPDATE words SET n_items = 7 WHERE word = 'shoe'", "items do not have the length"),
        ("UPDATE words SET numbers = 'text' WHERE word = 'shoe'", "items do not have the length"),
        ("UPDATE words SET numbers = x'0000' WHERE word = 'shoe'", "items do not have the length"),
        ("UPDATE words SET word = printf('%.*c', 65, 'a') WHERE word = 'shoe'", "a word that is not text"),
    ],
)
def test_validation_rejects_invalid_words(tmp_path: Path, change: str, message: str) -> None:
    changed = _changed(_written(tmp_path), change)
    with closing(LexicalIndex(changed)) as index, pytest.raises(SnapshotError, match=message):
        index.validate()


@pytest.mark.parametrize(
    "numbers",
    ["x'00'", "'text'", "x'ffffff7f'", "x''", "x'0100000001000000'", "x'0200000001000000'"],  # none, twice, descending
)
def test_what_opening_does_not_look_for_is_an_error_of_ours(tmp_path: Path, numbers: str) -> None:
    path = _changed(_written(tmp_path), f"UPDATE words SET numbers = {numbers} WHERE word = 'shoe'")
    with closing(LexicalIndex(path)) as index, pytest.raises(DamagedSnapshot):
        index.items_with(["shoe"])


def test_a_number_of_items_that_is_none_is_an_error_of_ours(tmp_path: Path) -> None:
    path = _changed(_written(tmp_path), "UPDATE words SET n_items = 'many' WHERE word = 'shoe'")
    with closing(LexicalIndex(path)) as index, pytest.raises(DamagedSnapshot):
        index.frequencies(["shoe"])
