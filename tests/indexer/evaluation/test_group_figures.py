import numpy as np

from indexer.evaluation.group_figures import GroupFigures
from tests.support.builders.held_out import hold_out
from tests.support.builders.series import make_series


def test_the_largest_groups_are_described() -> None:
    series = make_series(n_photos=20, n_shoots=5)
    held_out = hold_out(series.embedded)
    figures = GroupFigures.of(held_out, {"random_split_accuracy": 0.9})
    assert (figures.photos, figures.folds, figures.random_split_accuracy) == (400, 5, 0.9)
    assert figures.groups == held_out.folds.groups.n_groups
    assert len(figures.largest) == 6
    for group in figures.largest:
        images = np.array([int(name.removesuffix(".jpg")) for name in group.shown])
        assert len(images) == 8
        assert group.photos >= 20
        assert len(set(held_out.folds.groups.numbers[images].tolist())) == 1
        assert {series.embedded.items[image].category for image in images} == {group.category}


def test_without_groups_none_is_shown() -> None:
    held_out = hold_out(make_series(n_photos=1, n_shoots=10).embedded)
    figures = GroupFigures.of(held_out, {})
    assert figures.random_split_accuracy is None
    assert all(group.photos > 1 for group in figures.largest)
    assert figures.as_dict()["groups"] == figures.groups
