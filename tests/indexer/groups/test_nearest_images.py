import numpy as np
import pytest
from numpy.typing import NDArray

from indexer.groups import nearest_images as module
from indexer.groups.nearest_images import NEIGHBOURS, Neighbours, nearest_images
from shared.vectors import Vectors, unit_rows
from tests.support.builders.partitions import clusters, make_originals


def _cosines(embeddings: Vectors) -> NDArray[np.float32]:
    """By brute force, each image's own left out."""
    cosines = embeddings @ embeddings.T
    np.fill_diagonal(cosines, -np.inf)
    return cosines


def _check(near: Neighbours, embeddings: Vectors) -> None:
    """What is told is true, in order, and never the image itself."""
    rows = np.arange(len(embeddings))[:, np.newaxis]
    there = near.images >= 0
    assert not (near.images == rows).any()
    assert (near.cosines[~there] == -np.inf).all()
    np.testing.assert_allclose(near.cosines[there], _cosines(embeddings)[rows, near.images][there], atol=1e-5)
    assert (np.diff(np.where(there, near.cosines, -2)) <= 0).all()
    assert all(len(set(found[found >= 0])) == (found >= 0).sum() for found in near.images)


@pytest.mark.parametrize("n", [1, 2, 20, NEIGHBOURS + 1, 200])
def test_the_nearest_are_those_of_brute_force(n: int) -> None:
    embeddings, categories = clusters(n, 3)
    near = nearest_images(make_originals(embeddings, categories))
    _check(near, embeddings)
    assert near.exact
    assert near.images.shape == near.cosines.shape == (n, NEIGHBOURS)
    best = np.sort(_cosines(embeddings))[:, ::-1][:, : min(n - 1, NEIGHBOURS)]
    np.testing.assert_allclose(near.cosines[:, : best.shape[1]], best, atol=1e-5)


def test_an_image_with_many_copies_has_them_for_neighbours() -> None:
    embeddings = np.repeat(clusters(2, 2)[0], 50, axis=0)
    near = nearest_images(make_originals(embeddings, ["a"] * 100))
    _check(near, embeddings)
    assert (near.cosines > 0.999).all()


@pytest.mark.parametrize(("components", "share"), [(64, 0.95), (24, 0.7)])
def test_of_a_large_catalogue_the_nearest_are_found(
    components: int, share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise in all directions alike is what a projection loses most of; embeddings are not like that."""
    monkeypatch.setattr(module, "MAX_EXACT", 1000)
    monkeypatch.setattr(module, "_COMPONENTS", components)
    embeddings, categories = clusters(4000, 40, dim=64, spread=0.8)
    copies = unit_rows(embeddings[:50] + 0.2 * unit_rows(np.random.default_rng(9).normal(size=(50, 64))))
    embeddings = np.concatenate([embeddings, copies])
    near = nearest_images(make_originals(embeddings, categories + categories[:50]))
    assert not near.exact
    _check(near, embeddings)
    tenth = np.sort(_cosines(embeddings))[:, -10]
    assert np.mean(near.cosines[:, :10] >= tenth[:, np.newaxis] - 1e-5) >= share
    assert (near.images[:50, 0] == np.arange(4000, 4050)).all()  # near-duplicates are found in any case


def test_the_projection_brings_nothing_further_apart() -> None:
    embeddings, categories = clusters(500, 5, dim=256)
    reduced = module._reduced(make_originals(embeddings, categories))
    assert reduced.shape == (500, module._COMPONENTS + 1)
    np.testing.assert_allclose(np.linalg.norm(reduced, axis=1), 1, atol=1e-5)
    assert (reduced @ reduced.T >= embeddings @ embeddings.T - 1e-5).all()
