import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import roc_auc_score

from indexer.evaluation.retrieval_metrics import OodFigures, auroc, interval, ood_figures, precision, share_interval


@pytest.mark.parametrize(
    ("share", "n", "wanted"),
    # Brown, Cai and DasGupta, 2001: Wilson's centre is (x + z²/2) / (n + z²).
    [(0.9, 100, (0.8256, 0.9448)), (1.0, 10, (0.7225, 1.0)), (0.0, 10, (0.0, 0.2775)), (0.5, 2, (0.0945, 0.9055))],
)
def test_interval(share: float, n: int, wanted: tuple[float, float]) -> None:
    assert interval(share, n) == pytest.approx(wanted, abs=1e-4)
    exact = binomtest(round(share * n), n).proportion_ci(0.95, method="wilson")
    assert interval(share, n) == pytest.approx((exact.low, exact.high), abs=1e-12)


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
        ([0.5, 0.0, -0.1, -2.0, 0.2], [0, 2, 1, -1, -1], OodFigures(2 / 3, 0.5, 4 / 6)),
        ([0.5, -0.1], [0, 1], OodFigures(0.5, None, None)),
        ([0.5, -0.1, -3.0], [-1, -1, -1], OodFigures(None, pytest.approx(2 / 3), None)),
    ],
)
def test_known_figures_are_those_counted_by_hand(margins: list, truth: list, wanted: OodFigures) -> None:
    assert ood_figures(np.array(margins), np.array(truth)) == wanted


def test_the_interval_of_a_share_is_over_groups_where_there_are_any() -> None:
    values = np.repeat([True, True, True, False], 10)
    alone, grouped = share_interval(values, None), share_interval(values, np.repeat(np.arange(4), 10))
    assert alone == interval(0.75, 40)
    assert grouped[0] < alone[0] - 0.1
    assert grouped[1] == 1.0
    assert share_interval(values, np.arange(40)) == pytest.approx(alone, abs=0.03)
    assert share_interval(np.ones(40, np.bool_), np.repeat(np.arange(4), 10)) == interval(1.0, 4)
    assert share_interval(values, np.zeros(40, np.int64)) == (0.0, 1.0)
