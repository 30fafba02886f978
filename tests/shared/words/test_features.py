import numpy as np
import pytest

from shared.words.features import N_FEATURES, text_features, weighted, word_features

_EVEN = np.ones(N_FEATURES, dtype=np.float32)


def _cosine(one: str, other: str) -> float:
    rows = weighted([one, other], _EVEN)
    return float(rows[0] @ rows[1])


def test_a_word_has_its_n_grams_of_two_to_four_characters() -> None:
    grams = [" r", "re", "ed", "d ", " re", "red", "ed ", " red", "red "]
    assert sum(abs(count) for _, count in word_features("red")) == len(grams)


def test_inflected_and_misspelt_words_are_similar() -> None:
    assert _cosine("bicycle", "bicycles") > 0.7
    assert _cosine("turquoise", "turqoise") > 0.5
    assert abs(_cosine("bicycle", "watch")) < 0.2


def test_rows_are_unit_rows_or_zero() -> None:
    rows = weighted(["green diver's watch", "", "…"], _EVEN)
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 0, 0])


def test_frequent_features_weigh_less() -> None:
    idf = _EVEN.copy()
    idf[list(text_features(["watch"]))] = 0.1
    rare = weighted(["green watch", "green camera", "red watch"], idf)
    assert rare[0] @ rare[1] > rare[0] @ rare[2]


def test_lone_surrogates_have_features() -> None:
    assert text_features(["\udcff"])
