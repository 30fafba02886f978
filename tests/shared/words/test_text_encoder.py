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


def test_arrays_of_other_types_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "text_encoder.npz"
    arrays = {name: getattr(_encoder(), name) for name in ("idf", "weights", "offset")}
    for name, other in (("idf", np.array(["a"])), ("weights", np.zeros(2, [("a", "f4")])), ("offset", np.ones(8) * 1j)):
        np.savez(path, **{**arrays, name: other})
        with pytest.raises(SnapshotError, match=f"text_encoder.npz can't be read: its array '{name}' has the dtype"):
            TextEncoder.open(path)
    np.savez(path, idf=arrays["idf"], offset=arrays["offset"])
    with pytest.raises(SnapshotError, match="no array 'weights'"):
        TextEncoder.open(path)


def test_arrays_that_do_not_fit_are_rejected() -> None:
    with pytest.raises(SnapshotError, match="expected"):
        TextEncoder(np.ones(3, np.float32), np.ones((3, 2), np.float16), np.ones(2, np.float32))
    with pytest.raises(SnapshotError, match="the first from 0 to 100"):
        TextEncoder(np.full(N_FEATURES, 1e20, np.float32), _encoder().weights, _encoder().offset)
