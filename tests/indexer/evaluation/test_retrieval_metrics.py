import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from indexer.evaluation.retrieval_metrics import (
    KnownFigures,
    ReliabilityBin,
    auroc,
    category_accuracy_at,
    expected_calibration_error,
    interval,
    known_figures,
    precision,
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
    ("share", "n", "wanted"),
    # Brown, Cai and DasGupta, 2001: Wilson's centre is (x + z²/2) / (n + z²).
    [(0.9, 100, (0.8256, 0.9448)), (1.0, 10, (0.7225, 1.0)), (0.0, 10, (0.0, 0.2775)), (0.5, 2, (0.0945, 0.9055))],
)
def test_interval(share: float, n: int, wanted: tuple[float, float]) -> None:
    assert interval(share, n) == pytest.approx(wanted, abs=1e-4)
    exact = binomtest(round(share * n), n).proportion_ci(0.95, method="wilson")
    assert interval(share, n) == pytest.approx((exact.low, exact.high), abs=1e-12)


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
    assert probe_auto(head, _PROBABILITIES, np.array(truth), coverage) == pytest.approx(wanted)


def test_precision_is_the_mean_share_of_right_hits() -> None:
    assert precision([["a", "b", "a", "a"], ["a", "b"], ["b"]], ["a", "b", "a"]) == pytest.approx((0.75 + 0.5 + 0) / 3)


def test_a_query_without_hits_counts_nothing() -> None:
    assert precision([[], ["a"]], ["a", "a"]) == 0.5


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="zip"):
        precision([["a"]], ["a", "b"])


@pytest.mark.parametrize("decimals", [1, 9])
def test_auroc_equals_scikit_learns_with_and_without_ties(decimals: int) -> None:
    random = np.random.default_rng(0)
    higher, lower = random.normal(1, 1, 70).round(decimals), random.normal(0, 2, 130).round(decimals)
    wanted = roc_auc_score(np.repeat([1, 0], [70, 130]), np.concatenate([higher, lower]))
    assert auroc(higher, lower) == pytest.approx(wanted, abs=1e-12)
    assert auroc(np.array([2.0]), np.array([1.0])) == 1.0
    assert auroc(np.array([1.0]), np.array([1.0])) == 0.5


@pytest.mark.parametrize(
    ("margins", "truth", "wanted"),
    [
        ([0.5, 0.0, -0.1, -2.0, 0.2], [0, 2, 1, -1, -1], KnownFigures(2 / 3, 0.5, 4 / 6)),
        ([0.5, -0.1], [0, 1], KnownFigures(0.5, None, None)),
        ([0.5, -0.1, -3.0], [-1, -1, -1], KnownFigures(None, pytest.approx(2 / 3), None)),
    ],
)
def test_known_figures_are_those_counted_by_hand(margins: list, truth: list, wanted: KnownFigures) -> None:
    assert known_figures(np.array(margins), np.array(truth)) == wanted
