from pathlib import Path

import numpy as np
import pytest

from indexer.snapshots.stored_folds import StoredFolds, keys_of_images
from shared.errors import SnapshotError


def _folds() -> StoredFolds:
    return StoredFolds.of(keys_of_images([("mugs", b"2"), ("mugs", b"1"), ("cups", b"1")]), np.array([4, 0, -1]))


def test_images_are_known_by_category_and_content() -> None:
    keys = keys_of_images([("mugs", b"1"), ("cups", b"1"), ("mugs", b"3"), ("mugs", b"2")])
    assert _folds().folds_of(keys).tolist() == [0, -1, -1, 4]
    nothing = StoredFolds.of(keys, np.full(4, -1))
    assert nothing.folds_of(keys).tolist() == [-1] * 4


def test_they_are_stored(tmp_path: Path) -> None:
    path = tmp_path / "folds.npz"
    assert StoredFolds.open(path) is None
    _folds().write(path)
    stored = StoredFolds.open(path)
    assert stored is not None
    np.testing.assert_array_equal(stored.keys, _folds().keys)
    np.testing.assert_array_equal(stored.folds, _folds().folds)


@pytest.mark.parametrize(
    "arrays",
    [
        {"keys": [2, 1], "folds": [0, 0]},
        {"keys": [1, 1], "folds": [0, 0]},
        {"keys": [1, 2], "folds": [0]},
        {"keys": [1, 2], "folds": [0, -1]},
        {"keys": [1, 2]},
    ],
)
def test_invalid_folds_are_refused(arrays: dict[str, list[int]], tmp_path: Path) -> None:
    path = tmp_path / "folds.npz"
    np.savez(path, **{name: np.array(values) for name, values in arrays.items()})
    with pytest.raises(SnapshotError, match=r"folds\.npz"):
        StoredFolds.open(path)
    path.write_bytes(b"PK nothing of the kind")
    with pytest.raises(SnapshotError, match="can't be read"):
        StoredFolds.open(path)
