"""The head that is served and those of the folds: written, and read from snapshots of older versions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from indexer.snapshots.classifier_heads import Heads
from shared.errors import SnapshotError
from shared.model.classifier import Classifier
from shared.model.ood_rule import OodRule
from shared.snapshot.data_directory import SnapshotPaths

_RULE = OodRule(np.zeros(2), np.ones(2), np.array([0.1, 0.2]), np.ones(2))


def _head(scale: float) -> Classifier:
    weights = scale * np.arange(6, dtype=np.float32).reshape(3, 2)
    return Classifier(("a", "b"), weights, np.zeros(2, np.float32), 1.5, np.array([0.3, 0.9], np.float32))


def test_all_are_written_and_share_the_rule(tmp_path: Path) -> None:
    paths = SnapshotPaths(tmp_path)
    Heads(_head(1), (_head(2), _head(3))).with_ood_rule(_RULE).write(paths)
    found = Heads.open(paths)
    assert (found.served.weights == _head(1).weights).all()
    assert [head.weights[0, 1] for head in found.of_folds] == [2, 3]
    for one in (found.served, *found.of_folds):
        assert (one.temperature, one.own_probabilities.tolist()) == (1.5, pytest.approx([0.3, 0.9]))
        assert one.ood_rule is not None
        assert one.ood_rule.thresholds.tolist() == [0.1, 0.2]
    assert sorted(np.load(paths.fold_classifiers)) == ["bias", "weights"]  # what differs


def test_a_head_is_added_to_the_served_one_and_that_of_fold_0() -> None:
    heads = Heads(_head(1), (_head(2), _head(3))).first_plus(_head(10))
    assert [head.weights[0, 1] for head in (heads.served, *heads.of_folds)] == [11, 12]
    assert Heads.single(_head(1)).first_plus(_head(10)).is_single


def test_a_single_head_is_written_once(tmp_path: Path) -> None:
    paths = SnapshotPaths(tmp_path)
    heads = Heads.single(_head(1)).with_ood_rule(_RULE)
    assert heads.is_single
    heads.write(paths)
    assert paths.files() == [paths.classifier]
    assert Heads.open(paths).is_single


def test_the_validated_head_of_earlier_versions_is_that_of_a_fold(tmp_path: Path) -> None:
    paths = SnapshotPaths(tmp_path)
    replace(_head(1), ood_rule=_RULE).save(paths.classifier)
    _head(2).save(paths.validated_classifier)
    found = Heads.open(paths)
    (fold,) = found.of_folds
    assert (fold.weights == _head(2).weights).all()
    assert fold.ood_rule is found.served.ood_rule is not None


@pytest.mark.parametrize("content", [b"PK", None])
def test_damaged_heads_are_an_error(tmp_path: Path, content: bytes | None) -> None:
    paths = SnapshotPaths(tmp_path)
    Heads(_head(1), (_head(2),)).write(paths)
    if content is None:
        np.savez(paths.fold_classifiers, weights=np.zeros((1, 3, 5)), bias=np.zeros((1, 2)))
    else:
        paths.fold_classifiers.write_bytes(content)
    with pytest.raises(SnapshotError, match=r"classifier\.folds\.npz can't be read"):
        Heads.open(paths)


def test_none_removes_the_rule() -> None:
    heads = Heads(replace(_head(1), ood_rule=_RULE), (_head(2),)).with_ood_rule(None)
    assert (heads.served.ood_rule, heads.of_folds[0].ood_rule) == (None, None)
