"""The rule against a plain loop and SciPy, its arrays, and parts that can't be."""

import math
from dataclasses import replace

import numpy as np
import pytest
import scipy.special

from shared.errors import SnapshotError
from shared.index.category_search import Hit
from shared.model.energy_score import EnergyScore
from shared.model.ood_rule import (
    NEIGHBOURS,
    WEIGHTS_WITH_ENERGY,
    OodRule,
    log_odds,
    mean_cosine,
)
from shared.vectors import unit_rows

_RULE = OodRule(np.array([2.0, 0.6]), np.array([1.5, 0.1]), np.array([-3.0, -2.0, 0.5, -1.0]))


_ENERGY_SCORE = EnergyScore(
    np.random.default_rng(1).normal(size=(6, 9)).astype(np.float32), np.linspace(-1, 1, 9, dtype=np.float32)
)
_ENERGY_RULE = OodRule(
    np.array([2.0, 0.6, 4.0, 5.0, 3.0]),
    np.array([1.5, 0.1, 2.0, 3.0, 0.5]),
    _RULE.thresholds,
    np.array(WEIGHTS_WITH_ENERGY),
    _ENERGY_SCORE,
)


def _queries(n: int = 50) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Embeddings, logits that have nothing to do with them, the columns of the largest, and cosines."""
    random = np.random.default_rng(0)
    logits = random.normal(0, 4, size=(n, 4)).astype(np.float32)
    embeddings = unit_rows(random.normal(size=(n, 6)))
    return embeddings, logits, logits.argmax(axis=1), random.uniform(0, 1, size=n)


def test_log_odds_are_those_of_scipys_probabilities() -> None:
    _, logits, _, _ = _queries()
    probabilities = scipy.special.softmax(logits.astype(np.float64), axis=1)
    for column in range(4):
        expected = scipy.special.logit(probabilities[:, column])
        np.testing.assert_allclose(log_odds(logits, np.full(50, column)), expected, atol=1e-9)


def test_log_odds_of_two_categories_are_the_difference_of_their_logits() -> None:
    logits = np.array([[3.0, 1.0], [-2.0, 5.0]], np.float32)
    np.testing.assert_allclose(log_odds(logits, np.array([0, 0])), [2, -7])


def test_log_odds_do_not_saturate_and_their_logits_stay_as_they_were() -> None:
    logits = np.array([[900.0, -900.0, -900.0]], np.float32)
    before = logits.copy()
    np.testing.assert_allclose(log_odds(logits, np.array([0])), [1800 - math.log(2)])
    np.testing.assert_array_equal(logits, before)


def test_margins_equal_a_plain_loop() -> None:
    queries, logits, columns, cosines = _queries()
    found = _RULE.margins(queries, logits, columns, cosines)
    assert (found.shape, found.dtype) == ((50,), np.float64)
    for query in range(50):
        own = math.exp(logits[query, columns[query]])
        others = sum(math.exp(logits[query, column]) for column in range(4) if column != columns[query])
        score = (math.log(own / others) - 2.0) / 1.5 + (cosines[query] - 0.6) / 0.1
        assert found[query] == pytest.approx(score - [-3.0, -2.0, 0.5, -1.0][columns[query]], abs=1e-9)
    assert len(set(columns)) == 4


def test_margins_with_clarity_equal_a_plain_loop() -> None:
    queries, logits, columns, cosines = _queries()
    found = _ENERGY_RULE.margins(queries, logits, columns, cosines)
    for query in range(50):
        own = float(logits[query, columns[query]])
        odds = float(log_odds(logits[[query]], columns[[query]])[0])
        classes = [float(queries[query] @ _ENERGY_SCORE.weights[:, c]) + float(_ENERGY_SCORE.bias[c]) for c in range(9)]
        energy = math.log(sum(math.exp(one) for one in classes))
        lead = own - sum(logits[query].tolist()) / 4
        parts = ((odds - 2) / 1.5, (cosines[query] - 0.6) / 0.1, (own - 4) / 2, (lead - 5) / 3, (energy - 3) / 0.5)
        score = sum(weight * part for weight, part in zip((0.5, 1, 0.5, 0.5, -0.75), parts, strict=True))
        assert found[query] == pytest.approx(score - [-3.0, -2.0, 0.5, -1.0][columns[query]], abs=1e-5)


def test_of_two_that_fit_alike_the_clearer_one_is_less_known() -> None:
    toward = unit_rows(_ENERGY_SCORE.weights.T)[:1]
    queries = np.concatenate([toward, -toward])
    logits, columns = np.tile([4.0, 1, 0, 0], (2, 1)).astype(np.float32), np.zeros(2, int)
    clear, unclear = _ENERGY_RULE.margins(queries, logits, columns, np.full(2, 0.5))
    assert clear < unclear


def test_a_nearer_query_scores_higher_and_so_does_a_surer_one() -> None:
    queries, columns = np.eye(2, 6, dtype=np.float32), np.zeros(2, int)
    alike = np.tile([4.0, 1, 0, 0], (2, 1)).astype(np.float32)
    near = _RULE.margins(queries, alike, columns, np.array([0.5, 0.6]))
    sure = _RULE.margins(queries, np.array([[4.0, 3, 0, 0], [4.0, 1, 0, 0]], np.float32), columns, np.full(2, 0.5))
    assert near[1] - near[0] == pytest.approx(1.0)
    assert sure[1] > sure[0]


@pytest.mark.parametrize(("scores", "expected"), [([0.9], 0.9), ([0.9, 0.5], 0.7), ([1, 1, 1, 1, 0.5, 0, 0, 0], 0.9)])
def test_the_mean_is_that_of_the_nearest_or_of_as_many_as_there_are(scores: list[float], expected: float) -> None:
    assert NEIGHBOURS == 5
    assert mean_cosine([Hit(number, score) for number, score in enumerate(scores)]) == pytest.approx(expected)


@pytest.mark.parametrize("rule", [_RULE, _ENERGY_RULE], ids=["plain", "with energy score"])
def test_arrays_give_the_same_rule(rule: OodRule) -> None:
    again = OodRule.from_arrays(rule.to_arrays() | {"weights": np.ones(3)})
    assert again is not None
    np.testing.assert_array_equal(again.margins(*_queries()), rule.margins(*_queries()))


def test_arrays_of_before_there_were_weights_give_the_rule_of_then() -> None:
    arrays = _RULE.to_arrays()
    del arrays["known_weights"]
    again = OodRule.from_arrays(arrays)
    assert again is not None
    np.testing.assert_array_equal(again.margins(*_queries()), _RULE.margins(*_queries()))


def test_a_file_of_before_has_no_rule() -> None:
    assert OodRule.from_arrays({"weights": np.ones(3)}) is None


@pytest.mark.parametrize(
    "missing", ["known_means", "known_stds", "known_thresholds", "known_weights", "clarity_weights", "clarity_bias"]
)
def test_half_a_rule_is_not_taken_for_none(missing: str) -> None:
    arrays = _ENERGY_RULE.to_arrays()
    del arrays[missing]
    with pytest.raises(KeyError, match=missing):
        OodRule.from_arrays(arrays)


@pytest.mark.parametrize(
    ("means", "stds", "thresholds"),
    [
        ([0], [1, 1], [0, 0]),
        ([0, 0], [1, 1, 1], [0, 0]),
        ([0, 0], [1, 0], [0, 0]),
        ([0, 0], [1, -1], [0, 0]),
        ([0, math.nan], [1, 1], [0, 0]),
        ([0, 0], [1, math.inf], [0, 0]),
        ([0, 0], [1, 1], [0, math.nan]),
        ([0, 0], [1, 1], [[0, 0]]),
        ([0, 0], [1, 1], [0]),
        ([0, 0], [1, 1], []),
    ],
)
def test_parts_that_can_not_be_are_rejected(means: list, stds: list, thresholds: list) -> None:
    with pytest.raises(SnapshotError, match=r"the OOD rule has means .*; expected 2 means"):
        OodRule(*(np.array(part, dtype=np.float64) for part in (means, stds, thresholds)))


def test_as_many_signs_are_wanted_as_there_are() -> None:
    with pytest.raises(SnapshotError, match="expected 5 means"):
        replace(_RULE, energy_score=_ENERGY_SCORE)
    with pytest.raises(SnapshotError, match="expected 2 means"):
        replace(_ENERGY_RULE, energy_score=None)
    with pytest.raises(SnapshotError, match="expected 2 means"):
        replace(_RULE, weights=np.array([1.0, math.nan]))
