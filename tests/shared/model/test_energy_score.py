"""EnergyScore against SciPy, and parts that can't be."""

import numpy as np
import pytest
import scipy.special

from shared.errors import SnapshotError
from shared.model.energy_score import EnergyScore
from shared.vectors import unit_rows


def test_it_is_scipys_logsumexp_of_the_logits() -> None:
    random = np.random.default_rng(0)
    head = EnergyScore(random.normal(0, 9, size=(8, 30)).astype(np.float32), random.normal(size=30).astype(np.float32))
    queries = unit_rows(random.normal(size=(20, 8)))
    expected = scipy.special.logsumexp(queries @ head.weights + head.bias, axis=1)
    found = head.scores(queries)
    assert (found.shape, found.dtype) == ((20,), np.float64)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_large_logits_do_not_overflow() -> None:
    head = EnergyScore(np.array([[2000.0, -2000.0]], np.float32), np.zeros(2, np.float32))
    np.testing.assert_allclose(head.scores(np.ones((1, 1), np.float32)), [2000])


@pytest.mark.parametrize(
    ("weights", "bias"),
    [
        (np.ones(4), np.ones(4)),
        (np.ones((4, 3)), np.ones(4)),
        (np.ones((4, 3)), np.ones((3, 1))),
        (np.ones((4, 0)), np.ones(0)),
        (np.full((4, 3), np.nan), np.ones(3)),
        (np.ones((4, 3)), np.array([1, 1, np.inf])),
    ],
)
def test_parts_that_can_not_be_are_rejected(weights: np.ndarray, bias: np.ndarray) -> None:
    with pytest.raises(SnapshotError, match="the head for the energy score has weights"):
        EnergyScore(weights.astype(np.float32), bias.astype(np.float32))
