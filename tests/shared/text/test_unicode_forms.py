"""One name in composed and decomposed accents."""

import unicodedata

import pytest

from shared.text.unicode_forms import unicode_forms

_NFC, _NFD = "Hüte", unicodedata.normalize("NFD", "Hüte")


def test_the_name_as_given_comes_first() -> None:
    assert unicode_forms(_NFC) == (_NFC, _NFD)
    assert unicode_forms(_NFD) == (_NFD, _NFC)
    mixed = "é" + _NFD
    assert unicode_forms(mixed) == (mixed, "é" + _NFC, unicodedata.normalize("NFD", mixed))


@pytest.mark.parametrize("name", ["", "hats", "靴", "👟", "\ud800"])
def test_a_name_without_accents_has_one_form(name) -> None:
    assert unicode_forms(name) == (name,)


def test_long_text_is_not_normalised() -> None:
    text = "a" + "\u0301\u0323" * 100_000
    assert unicode_forms(text) == (text,)
