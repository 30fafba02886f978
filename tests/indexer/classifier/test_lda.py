from typing import Any

import numpy as np
import pytest
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from indexer.classifier import lda as discriminant
from indexer.classifier.lda import lda_head
from shared.vectors import unit_rows


def _views(counts: list[int], dim: int = 24) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(2)
    labels = random.permutation(np.repeat(np.arange(len(counts)), counts))
    rows = random.normal(size=(len(counts), dim))[labels] + 2 + 0.7 * random.normal(size=(len(labels), dim))
    return unit_rows(rows), labels


@pytest.mark.parametrize("counts", [[40, 30, 50], [300, 5], [2] * 30])
def test_it_is_scikit_learns(counts: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discriminant, "_CHUNK", 7)
    views, labels = _views(counts)
    weights, bias = lda_head(views, labels, len(counts))
    assert (weights.dtype, bias.dtype) == (np.float32, np.float32)
    # With the categories' shares as priors its covariance is the pooled one; their logarithms are taken off again.
    shares = np.bincount(labels) / len(labels)
    reference: Any = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5, priors=shares).fit(views, labels)
    scores = views @ weights + bias
    wanted = views @ reference.coef_.T
    if len(counts) == 2:  # one row of log odds there
        scores, wanted = scores[:, 1:] - scores[:, :1], wanted
        intercept = reference.intercept_ - np.log(shares[1] / shares[0])
    else:
        intercept = reference.intercept_ - np.log(shares)
    np.testing.assert_allclose(scores, wanted + intercept, atol=1e-3 * np.ptp(scores))


def test_half_precision_will_do() -> None:
    views, labels = _views([60, 60, 60])
    whole, _ = lda_head(views, labels, 3)
    half, _ = lda_head(views.astype(np.float16), labels, 3)
    assert np.abs(half - whole).max() < 0.02 * np.abs(whole).max()


def test_categories_of_one_view_each_and_of_views_that_are_all_the_same() -> None:
    rows = np.eye(5, dtype=np.float32)
    for views, labels in ((rows, np.arange(5)), (np.repeat(rows, 3, axis=0), np.repeat(np.arange(5), 3))):
        weights, bias = lda_head(views, labels, 5)
        assert np.isfinite(weights).all()
        assert ((views @ weights + bias).argmax(axis=1) == labels).all()
