import numpy as np

from indexer.data_quality import out_of_fold as module
from shared.vectors import unit_rows
from tests.support.builders.partitions import make_originals


def test_images_of_a_family_are_in_one_fold() -> None:
    families = np.repeat(np.arange(50), 3)
    folds = module._folds(families)
    assert all(len(set(folds[families == family])) == 1 for family in range(50))
    assert np.bincount(folds).tolist() == [30] * 5


def test_the_regression_never_scores_what_it_has_learned() -> None:
    """Noise can't be learned: out of fold its labels are guessed, in fold most would be known."""
    random = np.random.default_rng(0)
    originals = make_originals(unit_rows(random.normal(size=(400, 64))), random.choice(list("ab"), 400).tolist())
    scores = module.out_of_fold_scores(originals, np.arange(400))
    assert 0.4 < np.mean(scores.argmax(axis=1) == originals.columns) < 0.6


def test_the_regression_is_that_of_an_exact_solution() -> None:
    random = np.random.default_rng(0)
    rows = unit_rows(random.normal(size=(500, 40)) + 2 * random.normal(size=40))
    squares, products = rows.T @ rows, rows.T @ np.eye(3, dtype=np.float32)[random.integers(3, size=500)]
    exact = np.linalg.solve(squares + module._RIDGE * np.eye(40), products)
    np.testing.assert_allclose(rows @ module._solve(squares, products), rows @ exact, atol=0.01)
    assert (module._solve(squares, np.zeros_like(products)) == 0).all()
