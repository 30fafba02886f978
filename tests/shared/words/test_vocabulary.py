import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from indexer.words.lexical_writer import write_lexical_index
from shared.words.lexical_index import LexicalIndex
from shared.words.vocabulary import MAX_TEXT_CHARS, Vocabulary, edits

_TEXTS = ["Red shoes", "Green watch", "Green watches", "blue mug", "Relógio azul 42mm", "grün greek", "glass", "mouse"]


@pytest.fixture
def vocabulary(tmp_path: Path) -> Iterator[Vocabulary]:
    write_lexical_index(tmp_path / "words.sqlite", _TEXTS)
    with closing(LexicalIndex(tmp_path / "words.sqlite")) as index:
        yield Vocabulary(index)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("red SHOES", "red shoes"),
        ("relogio AZUL", "relogio azul"),
        ("relógios", "relogio"),  # a plural
        ("shoe", "shoes"),  # a singular
        ("mugs", "mug"),
        ("glasses", "glass"),
        ("grene", "green"),  # swapped
        ("gren", "green"),  # missing; "grün" and "greek" are rarer or further
        ("greeen", "green"),  # too much
        ("gteen", "green"),  # wrong
        ("mouxe", "mouse"),
        ("green green", "green"),
        ("Greek's watch", "greek watch"),
        ("red-shoes/blue", "red shoes blue"),
    ],
)
def test_case_accents_plurals_and_a_wrong_letter_do_not_matter(
    vocabulary: Vocabulary, given: str, expected: str
) -> None:
    understood = vocabulary.understand(given)
    assert (understood.text, understood.unknown_words) == (expected, ())


@pytest.mark.parametrize(
    ("given", "known", "unknown"),
    [
        ("purple shoes", "shoes", ("purple",)),
        ("purple Purple PÚRPLE", "", ("purple",)),
        ("rad", "", ("rad",)),  # short words are not corrected
        ("41mm", "", ("41mm",)),  # nor are those with digits
        ("graan", "", ("graan",)),  # two wrong letters
        ("", "", ()),
        (" …!? ", "", ()),
    ],
)
def test_words_that_the_catalogue_never_uses_are_named(
    vocabulary: Vocabulary, given: str, known: str, unknown: tuple[str, ...]
) -> None:
    understood = vocabulary.understand(given)
    assert (understood.text, understood.unknown_words) == (known, unknown)


@pytest.mark.parametrize(
    ("singular", "plural"),
    [
        ("accessory", "accessories"),
        ("shelf", "shelves"),
        ("knife", "knives"),
        ("botão", "botões"),
        ("pão", "pães"),
        ("azul", "azuis"),
        ("infantil", "infantis"),
        ("marrom", "marrons"),
        ("luz", "luces"),
        ("reloj", "relojes"),
    ],
)
def test_plurals_that_change_the_end_of_a_word(tmp_path: Path, singular: str, plural: str) -> None:
    for catalogue, query in ((singular, plural), (plural, singular)):
        path = tmp_path / f"{query}.sqlite"
        write_lexical_index(path, [catalogue, "desk"])
        with closing(LexicalIndex(path)) as index:
            assert index.items_with(Vocabulary(index).understand(query).known[0].forms).tolist() == [0]


def test_words_are_named_as_clients_write_them(tmp_path: Path) -> None:
    write_lexical_index(tmp_path / "words.sqlite", ["시계", "ドレス", "नीला माउस"])
    with closing(LexicalIndex(tmp_path / "words.sqlite")) as index:
        understood = Vocabulary(index).understand("시계 ドレス नीला 바지 腕時計 लाल")
        assert understood.text == "시계 ドレス नीला"
        assert understood.unknown_words == ("바지", "腕時計", "लाल")
        assert Vocabulary(index).understand("시개 मउस").unknown_words == ("मउस",)  # too short to be corrected


def test_singular_and_plural_count_as_the_same_word(vocabulary: Vocabulary) -> None:
    [known] = vocabulary.understand("watch").known
    assert known.word == "watch"
    assert set(known.forms) == {"watch", "watches"}


def test_of_several_words_within_one_edit_the_most_frequent_counts(tmp_path: Path) -> None:
    write_lexical_index(tmp_path / "words.sqlite", ["boat", "coat", "coat"])
    with closing(LexicalIndex(tmp_path / "words.sqlite")) as index:
        assert Vocabulary(index).understand("xoat").text == "coat"


@pytest.mark.parametrize("make", [lambda: "a" * MAX_TEXT_CHARS, lambda: " ".join(f"{i:c}xyzw" for i in range(97, 163))])
def test_a_hostile_text_takes_no_longer_than_others(vocabulary: Vocabulary, make: Callable[[], str]) -> None:
    started = time.process_time()
    understood = vocabulary.understand(make()[:MAX_TEXT_CHARS])
    assert understood.known == ()
    assert time.process_time() - started < 1


def test_edits_are_those_of_one_letter() -> None:
    made = set(edits("ab", "xy"))
    assert made == {"b", "a", "ba", "xab", "yab", "axb", "ayb", "abx", "aby", "xb", "yb", "ax", "ay"}
