from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import PCA

from indexer.reports import embedding_map as module
from indexer.reports.embedding_map import map_snapshot, principal_plane, spread_out
from shared.snapshot.snapshot import Snapshot
from shared.vectors import unit_rows


@pytest.mark.parametrize("shape", [(200, 30), (12, 64), (2, 5)])
def test_the_plane_is_that_of_scikit_learn(shape: tuple[int, int]) -> None:
    rows = unit_rows(np.random.default_rng(3).normal(size=shape) * np.linspace(3, 0.1, shape[1]))
    points, explained = principal_plane(rows)
    reference = PCA(2)
    wanted = reference.fit_transform(rows.astype(np.float64))
    signs = np.sign((points * wanted).sum(axis=0))
    np.testing.assert_allclose(points, wanted * np.where(signs == 0, 1, signs), atol=1e-5)
    np.testing.assert_allclose(explained, reference.explained_variance_ratio_, atol=1e-6)


def test_images_that_are_all_the_same_are_one_point() -> None:
    points, explained = principal_plane(unit_rows(np.ones((5, 4))))
    np.testing.assert_allclose(points, 0, atol=1e-6)
    assert explained == pytest.approx((0, 0), abs=1e-6)


def test_thumbnails_lie_apart() -> None:
    corners = np.array([[0, 0], [0, 9], [9, 0], [9, 9]], dtype=np.float64)
    crowd = 4.5 + np.random.default_rng(0).normal(scale=0.1, size=(50, 2))
    chosen = spread_out(np.concatenate([crowd, corners]), 5)
    assert chosen[0] < 50
    assert sorted(chosen[1:]) == [50, 51, 52, 53]
    assert len(spread_out(corners, 9)) == 4


def test_a_snapshot_is_mapped(snapshot: Snapshot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = map_snapshot(snapshot)
    assert drawn is not None
    assert (drawn.points.shape, drawn.images) == ((7, 2), 7)
    assert sorted(drawn.categories) == ["cold"] * 4 + ["warm"] * 3
    assert sorted(path.name for _, path in drawn.thumbnails) == sorted(
        f"{name}.png" for name in ("red", "orange", "blue", "tomato", "teal", "navy", "cyan")
    )
    assert all(path.exists() for _, path in drawn.thumbnails)
    monkeypatch.setattr(module, "_MAX_IMAGES", 4)
    part = map_snapshot(snapshot)
    assert part is not None
    assert (len(part.points), part.images) == (4, 7)
