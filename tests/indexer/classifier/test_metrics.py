import numpy as np
import pytest

from indexer.classifier.metrics import (
    ReliabilityBin,
    category_accuracy_at,
    expected_calibration_error,
    margin_of_mean,
    probe_auto,
    reliability,
)
from shared.model.classifier import Classifier

_PROBABILITIES = np.array([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.4, 0.35, 0.25], [0.1, 0.2, 0.7]], np.float32)


@pytest.mark.parametrize(
    ("k", "truth", "wanted"),
    [
        (1, [0, 1, 0, 2], 1.0),
        (1, [0, 2, 1, 0], 0.25),
        (2, [0, 2, 1, 0], 0.75),
        (3, [0, 2, 1, 0], 1.0),
        (1, [2, 0, 2, 0], 0.0),
        (3, [-1, -1, 0, 1], 0.5),
        (9, [2, 0, 2, 0], 1.0),
    ],
)
def test_category_accuracy_at(k: int, truth: list[int], wanted: float) -> None:
    assert category_accuracy_at(k, _PROBABILITIES, np.array(truth)) == wanted


def test_equal_probabilities_rank_in_column_order() -> None:
    even = np.full((2, 4), 0.25, np.float32)
    assert category_accuracy_at(1, even, np.array([0, 1])) == 0.5
    assert category_accuracy_at(2, even, np.array([1, 2])) == 0.5


def _binary(*confidences: float) -> np.ndarray:
    """Rows that say column 0 with these confidences."""
    return np.array([[confidence, 1 - confidence] for confidence in confidences])


def test_calibration_error_is_the_weighted_gap_of_each_bin() -> None:
    # Bins of a tenth: two at 0.85 of which one is right, one at 0.95 that is wrong, one at 0.55 that is right.
    probabilities, truth = _binary(0.85, 0.85, 0.95, 0.55), np.array([0, 1, 1, 0])
    wanted = 0.5 * abs(0.85 - 0.5) + 0.25 * 0.95 + 0.25 * 0.45
    assert expected_calibration_error(probabilities, truth, bins=10) == pytest.approx(wanted)
    # In a single bin the gaps cancel.
    assert expected_calibration_error(probabilities, truth, bins=1) == pytest.approx(abs(0.8 - 0.5))


def test_calibration_error_of_a_calibrated_and_of_a_wrong_classifier() -> None:
    assert expected_calibration_error(_binary(*[0.75] * 4), np.array([0, 0, 0, 1])) == pytest.approx(0)
    assert expected_calibration_error(_binary(1.0, 1.0), np.array([1, -1])) == pytest.approx(1)
    assert expected_calibration_error(_binary(1.0, 1.0), np.array([0, 0])) == pytest.approx(0)


def test_a_confidence_on_a_border_belongs_to_the_bin_below() -> None:
    # 0.6 and 0.55 share a bin of a tenth, 0.65 has its own.
    probabilities, truth = _binary(0.6, 0.55, 0.65), np.array([0, 0, 1])
    wanted = 2 / 3 * abs(0.575 - 1) + 1 / 3 * 0.65
    assert expected_calibration_error(probabilities, truth, bins=10) == pytest.approx(wanted)


def test_reliability_has_the_bins_that_have_queries() -> None:
    found = reliability(_binary(0.85, 0.875, 0.95, 0.5), np.array([0, 1, -1, 0]), bins=10)
    assert found == (
        ReliabilityBin(0.4, 0.5, 1, 0.5, 1.0),
        ReliabilityBin(0.8, 0.9, 2, 0.8625, 0.5),
        ReliabilityBin(0.9, 1.0, 1, 0.95, 0.0),
    )


@pytest.mark.parametrize(
    ("coverage", "truth", "wanted"),
    [
        (0.6, [0, 1, 0, 2], (1.0, 6 / 4)),  # 1, 2, 2 and 1 categories
        (0.6, [1, 2, 1, 0], (0.5, 6 / 4)),
        (0.6, [2, 0, 2, -1], (0.0, 6 / 4)),
        (1.0, [2, 0, 2, 1], (1.0, 3.0)),
        (0.0, [0, 1, 0, 0], (0.75, 1.0)),
    ],
)
def test_probe_auto_counts_what_is_searched(coverage: float, truth: list[int], wanted: tuple[float, float]) -> None:
    head = Classifier(("a", "b", "c"), np.zeros((2, 3), np.float32), np.zeros(3, np.float32))
    covered, counts = probe_auto(head, _PROBABILITIES, np.array(truth), coverage)
    assert (covered.mean(), counts.mean()) == pytest.approx(wanted)


def test_values_of_one_group_count_as_one() -> None:
    random = np.random.default_rng(0)
    independent = (random.random(400) < 0.8).astype(np.float64)
    each, alone = np.arange(400), margin_of_mean(independent, np.arange(400))
    assert alone == pytest.approx(1.96 * np.sqrt(independent.var() / 399), rel=1e-3)  # as ever
    assert margin_of_mean(np.repeat(independent, 10), np.repeat(each, 10)) == pytest.approx(alone)
    assert margin_of_mean(np.repeat(independent, 10), np.arange(4000)) < 0.4 * alone
    assert margin_of_mean(np.ones(5), np.array([0, 0, 1, 1, 1])) == 0
    assert margin_of_mean(np.ones(5), np.zeros(5, np.int64)) is None


def test_the_margin_covers_the_truth_as_often_as_it_says() -> None:
    """Of groups of unequal size that are right or wrong together."""
    random = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        groups = np.repeat(np.arange(120), random.integers(1, 8, size=120))
        values = (random.random(120) < 0.85)[groups].astype(np.float64)
        covered += abs(values.mean() - 0.85) <= margin_of_mean(values, groups)
    assert 0.9 <= covered / 400 <= 0.98
