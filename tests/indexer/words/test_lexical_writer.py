from contextlib import closing
from pathlib import Path

import pytest

import indexer.words.lexical_writer
from indexer.words.lexical_writer import write_lexical_index
from shared.words.lexical_index import MAX_WORD_CHARS, LexicalIndex

_TOO_LONG = "x" * (MAX_WORD_CHARS + 1)
_TEXTS = ["Red shoe, red laces", "", "Sapato VERMELHO é ótimo", "red hat", _TOO_LONG]


@pytest.mark.parametrize("stage_size", [0, 3, 1000])
def test_each_word_leads_to_its_items(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage_size: int) -> None:
    monkeypatch.setattr(indexer.words.lexical_writer, "_STAGE_SIZE", stage_size)
    write_lexical_index(tmp_path / "words.sqlite", _TEXTS)
    with closing(LexicalIndex(tmp_path / "words.sqlite")) as index:
        index.validate()
        assert index.n_items == 5
        assert index.items_with(["red"]).tolist() == [0, 3]
        assert index.items_with(["hat", "vermelho", "otimo"]).tolist() == [2, 3]
        assert index.frequencies(["red", "é", "e", "otimo", _TOO_LONG]) == {
            "red": 2,
            "e": 1,
            "otimo": 1,
        }


def test_the_alphabet_begins_with_the_letters_of_most_words(tmp_path: Path) -> None:
    write_lexical_index(tmp_path / "words.sqlite", ["eta meta 42", "zeta"])
    with closing(LexicalIndex(tmp_path / "words.sqlite")) as index:
        assert set(index.alphabet[:3]) == set("eta")
        assert set(index.alphabet) == set("etamz")


def test_a_catalogue_without_words_has_an_index(tmp_path: Path) -> None:
    write_lexical_index(tmp_path / "words.sqlite", ["", ""])
    with closing(LexicalIndex(tmp_path / "words.sqlite")) as index:
        index.validate()
        assert (index.n_items, index.alphabet, index.frequencies(["red"])) == (2, "", {})
