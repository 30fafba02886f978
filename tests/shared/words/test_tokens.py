import pytest

from shared.words.tokens import MAX_CHARS, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Crème BRÛLÉE, 2-pack", ["creme", "brulee", "2", "pack"]),
        ("  tênis\tvermelho\n", ["tenis", "vermelho"]),
        ("Straße ΣΟΦΌΣ", ["strasse", "σοφοσ"]),
        ("!? –", []),
    ],
)
def test_words_have_neither_case_nor_accents(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_composed_and_decomposed_text_have_the_same_words() -> None:
    assert words("caf\u00e9") == words("cafe\u0301") == ["cafe"]


def test_only_the_start_of_a_long_text_counts() -> None:
    assert len("".join(words("a" * (MAX_CHARS + 10)))) == MAX_CHARS
