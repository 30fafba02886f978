from pathlib import Path

import numpy as np
import pytest

from shared.errors import SnapshotError
from shared.files.npz_file import read_arrays


def _path(tmp_path: Path) -> Path:
    (tmp_path / "snapshot").mkdir()
    return tmp_path / "snapshot" / "arrays.npz"


def test_arrays_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = _path(tmp_path)
    np.savez(path, rows=np.arange(6).reshape(2, 3), name=np.float16(2.5))
    arrays = read_arrays(path, "the file")
    np.testing.assert_array_equal(arrays["rows"], [[0, 1, 2], [3, 4, 5]])
    assert arrays["name"] == 2.5


def test_damaged_compressed_and_pickled_files_are_rejected(tmp_path: Path) -> None:
    path = _path(tmp_path)
    with pytest.raises(SnapshotError, match=r"the file .* can't be read"):
        read_arrays(path, "the file")
    path.write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(SnapshotError, match="can't be read"):
        read_arrays(path, "the file")
    np.savez_compressed(path, rows=np.zeros(10**6))
    with pytest.raises(SnapshotError, match="expected stored members"):
        read_arrays(path, "the file")
    np.savez(path, rows=np.array([{}], dtype=object))
    with pytest.raises(SnapshotError, match="can't be read"):
        read_arrays(path, "the file")
