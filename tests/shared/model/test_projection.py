from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from shared.errors import SnapshotError
from shared.model.projection import ProjectedEmbedder, Projection
from shared.vectors import Pixels, Vectors, unit_rows

_DIM = 12


def _projection(rank: int = 3, dim: int = _DIM) -> Projection:
    random = np.random.default_rng(2)
    basis, _ = np.linalg.qr(random.standard_normal((dim, rank)))
    return Projection(basis.astype(np.float32), np.array([1.5, 4.0, 9.0], np.float32)[:rank])


def _rows(n: int = 5) -> Vectors:
    return unit_rows(np.random.default_rng(3).standard_normal((n, _DIM)))


def test_the_inner_product_is_that_of_the_learned_metric() -> None:
    projection, rows = _projection(), _rows()
    metric = np.eye(_DIM) + projection.basis @ np.diag(projection.gains**2 - 1) @ projection.basis.T
    products = rows @ metric @ rows.T
    lengths = np.sqrt(np.diag(products))
    projected = projection.apply(rows)
    np.testing.assert_allclose(projected @ projected.T, products / np.outer(lengths, lengths), atol=1e-5)


def test_inverting_gives_the_base_embeddings() -> None:
    np.testing.assert_allclose(_projection().invert(_projection().apply(_rows())), _rows(), atol=1e-5)


def test_it_is_the_same_after_saving(tmp_path: Path) -> None:
    _projection().save(tmp_path / "projection.npz")
    again = Projection.open(tmp_path / "projection.npz")
    assert again.digest == _projection().digest
    np.testing.assert_array_equal(again.apply(_rows()), _projection().apply(_rows()))


def test_damaged_or_unfitting_files_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "projection.npz"
    path.write_bytes(b"PK\x03\x04nothing")
    with pytest.raises(SnapshotError, match="can't be read"):
        Projection.open(path)


_AXIS = np.eye(3, 1, dtype=np.float32)


@pytest.mark.parametrize(
    ("basis", "gains"),
    [
        (_AXIS, [0.5]),
        (_AXIS, [np.nan]),
        (_AXIS, [1e20]),  # embeddings would overflow
        (_AXIS, [2, 2]),
        (_AXIS * np.nan, [2]),
        (_AXIS * 1e30, [2]),  # as would these
        (np.ones((3, 1)), [2]),
        (np.eye(3, 4), [2] * 4),
    ],
)
def test_a_projection_that_is_none_is_rejected(basis: NDArray[np.float64], gains: list[float]) -> None:
    with pytest.raises(SnapshotError, match="expected orthonormal"):
        Projection(basis.astype(np.float32), np.array(gains, np.float32))


def test_arrays_of_other_types_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "projection.npz"
    for gains in (np.array(["a"]), np.array([2 + 1j]), np.array([1e300]), np.zeros(1, [("a", "f4")])):
        np.savez(path, basis=_AXIS, gains=gains)
        with pytest.raises(SnapshotError, match=r"projection\.npz can't be read: its array 'gains' has the dtype"):
            Projection.open(path)


class _FakeEmbedder:
    dim, side_px, embedder_id = _DIM, 128, "fake"

    def embed(self, pixels: Pixels, is_alone: bool = False) -> Vectors:
        return _rows(len(pixels))


def test_a_projected_embedder_projects() -> None:
    embedder = ProjectedEmbedder(_FakeEmbedder(), _projection())
    pixels = np.zeros((2, 4, 4, 3), np.uint8)
    np.testing.assert_array_equal(embedder.embed(pixels), _projection().apply(_rows(2)))
    assert (embedder.dim, embedder.embedder_id) == (_DIM, "fake")
    with pytest.raises(SnapshotError, match="dimensions"):
        ProjectedEmbedder(_FakeEmbedder(), _projection(dim=5))
