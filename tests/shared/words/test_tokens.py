import unicodedata

import pytest

from shared.words.tokens import MAX_CHARS, words


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
        ("นาฬิกา สีแดง", ["นาฬิกา", "สีแดง"]),  # Thai
        ("バス ﾊﾟｽ", ["ハ\u3099ス", "ハ\u309aス"]),  # bus, pass
    ],
)
def test_words_have_neither_case_nor_accents(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_composed_and_decomposed_text_have_the_same_words() -> None:
    assert words("caf\u00e9") == words("cafe\u0301") == ["cafe"]
    for text in ("नीला माउस", "ドレス", "Łódź", "시계", "น้ำ"):
        assert words(unicodedata.normalize("NFC", text)) == words(unicodedata.normalize("NFD", text))


def test_words_of_words_are_the_same() -> None:
    for text in ("Crème ™ dark_blue", "लाल घड़ी", "バス", "Æ ß ŉ ﬁ"):
        assert words(" ".join(words(text))) == words(text)


def test_only_the_start_of_a_long_text_counts() -> None:
    assert len("".join(words("a" * (MAX_CHARS + 10)))) == MAX_CHARS
