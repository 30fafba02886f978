"""The validated and the refitted head: written, and read from snapshots of older versions."""

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


def test_both_are_written_and_share_the_rule(tmp_path: Path) -> None:
    paths = SnapshotPaths(tmp_path)
    Heads(_head(1), _head(2)).with_ood_rule(_RULE).write(paths)
    found = Heads.open(paths)
    assert (found.refitted.weights == _head(1).weights).all()
    assert (found.validated.weights == _head(2).weights).all()
    for one in (found.refitted, found.validated):
        assert (one.temperature, one.own_probabilities.tolist()) == (1.5, pytest.approx([0.3, 0.9]))
        assert one.ood_rule is not None
        assert one.ood_rule.thresholds.tolist() == [0.1, 0.2]
    assert Classifier.open(paths.validated_classifier).ood_rule is None  # 1.3 MB of clarity need not be there twice


def test_a_head_that_was_not_refitted_is_written_once(tmp_path: Path) -> None:
    paths = SnapshotPaths(tmp_path)
    heads = Heads.without_refit(_head(1)).with_ood_rule(_RULE)
    assert heads.refitted is heads.validated
    heads.write(paths)
    assert paths.files() == [paths.classifier]
    found = Heads.open(paths)
    assert found.refitted is found.validated


def test_a_damaged_validated_head_is_an_error(tmp_path: Path) -> None:
    paths = SnapshotPaths(tmp_path)
    Heads(_head(1), _head(2)).write(paths)
    paths.validated_classifier.write_bytes(b"PK")
    with pytest.raises(SnapshotError, match=r"classifier\.judged\.npz can't be read"):
        Heads.open(paths)


def test_none_removes_the_rule() -> None:
    heads = Heads(replace(_head(1), ood_rule=_RULE), _head(2)).with_ood_rule(None)
    assert (heads.refitted.ood_rule, heads.validated.ood_rule) == (None, None)
