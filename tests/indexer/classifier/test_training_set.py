import numpy as np
import pytest

from indexer.classifier.training_set import balanced_sample


@pytest.mark.parametrize(("limit", "expected"), [(0, [0, 0]), (1, [0, 1]), (6, [3, 3]), (9, [4, 5]), (99, [94, 5])])
def test_a_balanced_sample_has_as_many_of_each_label_as_there_are(limit: int, expected: list[int]) -> None:
    labels = np.array([0] * 95 + [1] * 5)[np.random.default_rng(0).permutation(100)]
    chosen = balanced_sample(labels, limit, 3)
    counts = np.bincount(labels[chosen], minlength=2).tolist()
    assert sorted(counts) == sorted(expected)
    assert len(set(chosen.tolist())) == limit
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(chosen, balanced_sample(labels, limit, 3))


def test_few_rows_are_all_chosen_and_many_by_the_seed() -> None:
    labels = np.array([0, 1] * 50)
    np.testing.assert_array_equal(balanced_sample(labels, 100, 3), np.arange(100))
    assert balanced_sample(labels, 20, 3).tolist() != balanced_sample(labels, 20, 4).tolist()
