from pathlib import Path

import numpy as np
import pytest

from shared.errors import SnapshotError
from shared.words.features import N_FEATURES, weighted
from shared.words.text_encoder import TextEncoder


def _encoder(dim: int = 8) -> TextEncoder:
    random = np.random.default_rng(1)
    weights = random.standard_normal((N_FEATURES, dim)).astype(np.float16)
    return TextEncoder(np.ones(N_FEATURES, np.float32), weights, random.standard_normal(dim).astype(np.float32))


def test_an_embedding_is_the_linear_map_of_the_features() -> None:
    encoder = _encoder()
    expected = weighted(["red shoe"], encoder.idf) @ encoder.weights.astype(np.float32) + encoder.offset
    np.testing.assert_allclose(encoder.embed("red shoe"), expected / np.linalg.norm(expected), rtol=1e-4, atol=1e-6)


def test_it_is_the_same_after_saving(tmp_path: Path) -> None:
    encoder = _encoder()
    encoder.save(tmp_path / "text_encoder.npz")
    again = TextEncoder.open(tmp_path / "text_encoder.npz")
    np.testing.assert_array_equal(again.embed("blue hat"), encoder.embed("blue hat"))


def test_a_damaged_file_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "text_encoder.npz"
    path.write_bytes(b"PK\x03\x04nothing")
    with pytest.raises(SnapshotError, match="can't be read"):
        TextEncoder.open(path)


def test_arrays_that_do_not_fit_are_rejected() -> None:
    with pytest.raises(SnapshotError, match="expected"):
        TextEncoder(np.ones(3, np.float32), np.ones((3, 2), np.float16), np.ones(2, np.float32))
