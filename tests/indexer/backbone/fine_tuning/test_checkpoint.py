from pathlib import Path

import numpy as np
import pytest

from indexer.backbone.fine_tuning.checkpoint import TuningCheckpoint

_VALUES = [np.arange(6, dtype=np.float32).reshape(2, 3), np.float32(0.5), np.int64(7)]
_SHAPES = [(2, 3), (), ()]


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tuning.npz"


def test_what_was_saved_is_loaded_and_nothing_is_left_beside(path: Path, said: list[str]) -> None:
    checkpoint = TuningCheckpoint(path, "key", said.append)
    assert checkpoint.load(_SHAPES) == (0, [])
    checkpoint.save(1, _VALUES)
    checkpoint.save(3, _VALUES)
    epochs, values = checkpoint.load(_SHAPES)
    assert epochs == 3
    assert all(np.array_equal(a, b) for a, b in zip(values, _VALUES, strict=True))
    assert [file.name for file in path.parent.iterdir()] == ["tuning.npz"]
    checkpoint.delete()
    checkpoint.delete()
    assert not path.exists()
    assert said == []


def test_the_checkpoint_of_another_tuning_is_ignored_and_said(path: Path, said: list[str]) -> None:
    TuningCheckpoint(path, "other", said.append).save(2, _VALUES)
    assert TuningCheckpoint(path, "key", said.append).load(_SHAPES) == (0, [])
    assert said == [f"fine-tuning starts again: its checkpoint {path} belongs to other pictures or settings"]


@pytest.mark.parametrize("keep", [0.0, 0.3, 0.7, 0.99])
def test_a_truncated_one_is_ignored_and_said(path: Path, said: list[str], keep: float) -> None:
    TuningCheckpoint(path, "key", said.append).save(2, _VALUES)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data))])
    assert TuningCheckpoint(path, "key", said.append).load(_SHAPES) == (0, [])
    assert said == [f"fine-tuning starts again: its checkpoint {path} is damaged"]


def test_a_flipped_byte_is_noticed_wherever_it_is(path: Path, said: list[str]) -> None:
    checkpoint = TuningCheckpoint(path, "key", said.append)
    checkpoint.save(2, _VALUES)
    data = path.read_bytes()
    places = range(0, len(data), 7)
    for place in places:
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        assert checkpoint.load(_SHAPES) == (0, [])
    assert len(said) == len(places)


def test_one_that_can_not_be_read_is_ignored_and_said(tmp_path: Path, said: list[str]) -> None:
    assert TuningCheckpoint(tmp_path, "key", said.append).load(_SHAPES) == (0, [])
    assert "can't be read: Is a directory" in said[0]


def test_variables_of_other_shapes_are_refused(path: Path, said: list[str]) -> None:
    checkpoint = TuningCheckpoint(path, "key", said.append)
    checkpoint.save(2, _VALUES)
    assert checkpoint.load([(3, 2), (), ()]) == (0, [])
    assert "variables of other shapes" in said[0]


def test_a_path_that_can_not_be_written_leaves_nothing_beside(tmp_path: Path, said: list[str]) -> None:
    path = tmp_path / "a directory"
    path.mkdir()
    with pytest.raises(OSError, match="directory"):
        TuningCheckpoint(path, "key", said.append).save(1, _VALUES)
    assert list(tmp_path.iterdir()) == [path]


def test_without_a_path_nothing_is_kept(said: list[str]) -> None:
    checkpoint = TuningCheckpoint(None, "key", said.append)
    checkpoint.save(1, _VALUES)
    checkpoint.delete()
    assert checkpoint.load(_SHAPES) == (0, [])
