import numpy as np
import pytest

from benchmarks.ann.synthetic_vectors import Cloud, generate_chunks, local_intrinsic_dimension, skewed_shares
from shared.vectors import Vectors, unit_rows


def _on_a_plane(count: int, plane_dim: int, seed: int, dim: int = 64) -> Vectors:
    """Unit rows close to a common one, spread evenly over a plane of so many dimensions."""
    plane = np.linalg.qr(np.random.default_rng(0).normal(size=(dim, plane_dim + 1)))[0].T
    spread = np.random.default_rng(seed).uniform(-0.2, 0.2, size=(count, plane_dim))
    return unit_rows(plane[0] + spread @ plane[1:])


@pytest.mark.parametrize("dim", [2, 5, 10])
def test_the_dimension_of_a_plane_is_found(dim: int) -> None:
    found = local_intrinsic_dimension(_on_a_plane(200, dim, seed=1), _on_a_plane(20_000, dim, seed=2))
    # At the plane's edges, and so the more the more dimensions it has, neighbourhoods are cut off.
    assert np.median(found) == pytest.approx(dim, rel=0.2)


def _photos(count: int, seed: int) -> Vectors:
    """Embeddings whose spread falls from direction to direction, as that of photos does."""
    rng = np.random.default_rng(seed)
    return unit_rows(1 + rng.normal(size=(count, 200)) / np.arange(1, 201) ** 0.75)


def test_synthetic_vectors_are_as_hard_to_search_as_the_real_ones() -> None:
    photos, rng = _photos(600, seed=0), np.random.default_rng(1)
    cloud = Cloud.of(photos)
    real = np.median(local_intrinsic_dimension(_photos(200, seed=2), photos))
    synthetic = np.median(local_intrinsic_dimension(cloud.sample(200, rng), cloud.sample(600, rng)))
    assert 0.65 * real < synthetic < 1.3 * real
    assert np.trace(np.cov(cloud.sample(5000, rng).T)) == pytest.approx(np.trace(np.cov(photos.T)), rel=0.1)


def test_no_vector_is_nearly_another() -> None:
    photos = _photos(300, seed=0)
    # Without the noise each would be its photo: ten of 3,000 the same one.
    assert _to_the_nearest(Cloud.of(photos).sample(3000, np.random.default_rng(1))) > 0.3 * _to_the_nearest(photos)


def _to_the_nearest(vectors: Vectors) -> float:
    """The median distance of the first hundred to their nearest others."""
    scores = np.sort(vectors[:100] @ vectors.T, axis=1)[:, -2]
    return float(np.median(np.sqrt(np.maximum(2 - 2 * scores, 0))))


def test_the_same_seed_draws_the_same() -> None:
    clouds = [Cloud.of(_photos(50, seed)) for seed in range(3)]
    first, second, other = (list(generate_chunks(clouds, 20_000, np.random.default_rng(seed))) for seed in (0, 0, 1))
    assert [len(vectors) for vectors, _ in first] == [16_384, 20_000 - 16_384]
    for (vectors, categories), (again, categories_again) in zip(first, second, strict=True):
        assert np.array_equal(vectors, again)
        assert np.array_equal(categories, categories_again)
    assert not np.allclose(first[0][0], other[0][0])
    counts = np.bincount(np.concatenate([categories for _, categories in first]))
    assert counts / 20_000 == pytest.approx(skewed_shares(3), abs=0.02)
    [(_, skewed)] = generate_chunks(clouds, 9000, np.random.default_rng(0), skew=2)
    assert np.bincount(skewed) / 9000 == pytest.approx([36 / 49, 9 / 49, 4 / 49], abs=0.02)
