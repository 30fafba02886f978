import unicodedata

import pytest

from shared.words.tokens import MAX_CHARS, indexed_words, rejoined, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Crème BRÛLÉE, 2-pack", ["creme", "brulee", "2", "pack"]),
        ("  tênis\tvermelho\n", ["tenis", "vermelho"]),
        ("Straße ΣΟΦΌΣ", ["strasse", "σοφοσ"]),
        ("!? –", []),
        ("dark_blue T-shirt/XL", ["dark", "blue", "t", "shirt", "xl"]),
        ("Acme™ Ⅳ 5㎏ 𝐍𝐄𝐖 ＦＵＬＬ", ["acme", "iv", "5kg", "new", "full"]),  # compatibility characters
        ("KIRMIZI kırmızı İNCİ", ["kirmizi", "kirmizi", "inci"]),
        ("Smørrebrød Łódź œuvre ÆSIR đồng", ["smorrebrod", "lodz", "oeuvre", "aesir", "dong"]),
        ("Leder\u00adjacke wa\u200dtch \u202ered\u202c ❤\ufe0f 1\ufe0f\u20e3", ["lederjacke", "watch", "red", "1"]),
        ("لَوْن أحمـــر", ["لون", "احمر"]),  # Arabic, with vowel points and an elongation
        ("लाल घड़ी", ["लाल", "घडी"]),  # Hindi
        ("สีแดง", ["สี", "ีแ", "แด", "ดง"]),  # Thai
        ("バス ﾊﾟｽ", ["バス", "パス"]),  # bus, pass
        ("赤い腕時計 XL型5個", ["赤い", "い腕", "腕時", "時計", "xl", "型", "5", "個"]),
        ("㍿ ﾊﾞｽ", ["株式", "式会", "会社", "バス"]),
        ("빨간 시계", [unicodedata.normalize("NFD", word) for word in ("빨간", "시계")]),
    ],
)
def test_words_have_neither_case_nor_accents(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_composed_and_decomposed_text_have_the_same_words() -> None:
    assert words("caf\u00e9") == words("cafe\u0301") == ["cafe"]
    for text in ("नीला माउस", "ドレス", "Łódź", "시계", "น้ำ"):
        assert words(unicodedata.normalize("NFC", text)) == words(unicodedata.normalize("NFD", text))


def test_texts_without_spaces_are_found_by_any_part() -> None:
    text = indexed_words("赤い腕時計（防水）")
    for part in ("赤い腕時計", "腕時計", "時計", "赤", "防水"):
        assert text.issuperset(words(part)), part
    assert not text.issuperset(words("赤い時計"))
    assert rejoined(["red", "腕時", "時計", "防水", "a", "ab"]) == ["red", "腕時計", "防水", "a", "ab"]
    assert indexed_words("Red watch") == {"red", "watch"}


def test_words_of_words_are_the_same() -> None:
    for text in ("Crème ™ dark_blue", "लाल घड़ी", "赤いバスA", "Æ ß ŉ ﬁ"):
        assert words(" ".join(rejoined(words(text)))) == words(text)


def test_only_the_start_of_a_long_text_counts() -> None:
    assert len("".join(words("a" * (MAX_CHARS + 10)))) == MAX_CHARS
