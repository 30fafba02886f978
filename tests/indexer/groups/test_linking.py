import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from indexer.groups.linking import MAX_RATIO, ImageGroups, link_images, linking_cosine
from indexer.groups.nearest_images import NEIGHBOURS, Neighbours
from shared.vectors import Vectors, unit_rows
from tests.support.builders.series import make_series


def _near(embeddings: Vectors) -> Neighbours:
    cosines, images = faiss.knn(embeddings, embeddings, NEIGHBOURS + 1, faiss.METRIC_INNER_PRODUCT)
    return Neighbours(images[:, 1:], np.where(images[:, 1:] < 0, -np.inf, cosines[:, 1:]), exact=True)


def _groups(embeddings: Vectors, columns: NDArray[np.int64], items: NDArray[np.int64] | None = None) -> ImageGroups:
    return link_images(_near(embeddings), np.arange(len(columns)) if items is None else items, columns)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shoot_spread", [0.7, 1.0, 1.5])
def test_the_series_of_a_catalogue_are_its_groups(seed: int, shoot_spread: float) -> None:
    series = make_series(seed=seed, shoot_spread=shoot_spread)
    columns = series.embedded.columns(np.arange(len(series.shoots)), series.embedded.categories)
    groups = _groups(series.embedded.originals, columns)
    assert 45 <= groups.n_groups <= 48  # some shoots lie close together by chance
    for shoot in range(48):
        assert len(set(groups.numbers[series.shoots == shoot].tolist())) == 1
    assert (groups.numbers[groups.numbers] == groups.numbers).all()  # named after their first image
    assert (groups.numbers <= np.arange(len(columns))).all()
    assert [len(images) for images in groups.largest(48)] == sorted(
        np.bincount(groups.numbers)[np.unique(groups.numbers)].tolist(), reverse=True
    )
    assert (np.diff(groups.largest(1)[0]) > 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_photos_that_are_all_alike_apart_are_no_groups(seed: int) -> None:
    series = make_series(n_shoots=96, n_photos=1, seed=seed)
    columns = series.embedded.columns(np.arange(len(series.shoots)), series.embedded.categories)
    groups = _groups(series.embedded.originals, columns)
    assert groups.n_groups >= 0.97 * len(columns)


def test_the_threshold_follows_the_catalogue() -> None:
    wide, narrow = (make_series(shoot_spread=spread, photo_spread=spread / 4).embedded for spread in (1.5, 0.5))
    cosines = [linking_cosine(_near(embedded.originals)) for embedded in (wide, narrow)]
    assert cosines[0] < cosines[1] - 0.1
    distances = 1 - np.sort(wide.originals @ wide.originals.T)[:, -1 - len(wide.digests) // 20]
    assert cosines[0] == pytest.approx(1 - MAX_RATIO * np.median(distances), abs=1e-4)


def test_only_images_of_one_category_are_linked() -> None:
    series = make_series()
    columns = np.arange(len(series.shoots)) % 2
    groups = _groups(series.embedded.originals, columns)
    for number in np.unique(groups.numbers):
        assert len(set(columns[groups.numbers == number].tolist())) == 1
    assert groups.n_groups > 48


def test_images_of_an_item_are_one_group_however_they_look() -> None:
    rows = unit_rows(np.random.default_rng(0).normal(size=(60, 256)))
    items = np.repeat(np.arange(20), 3)
    groups = _groups(rows, np.zeros(60, np.int64), items)
    np.testing.assert_array_equal(groups.numbers, 3 * items)


def test_links_are_nearest_first() -> None:
    series = make_series()
    columns = np.zeros(len(series.shoots), np.int64)
    groups = _groups(series.embedded.originals, columns)
    rows = series.embedded.originals
    for image in range(0, len(rows), 17):
        linked = groups.linked(image)
        assert set(linked.tolist()) == set(np.flatnonzero(rows @ rows[image] >= groups.min_cosine)) - {image}
        assert (np.diff(rows[linked] @ rows[image]) <= 1e-6).all()


@pytest.mark.parametrize("n", [1, 2])
def test_a_tiny_catalogue(n: int) -> None:
    groups = _groups(unit_rows(np.eye(n, 8) + 1), np.zeros(n, np.int64))
    assert groups.numbers.tolist() == list(range(n))
    assert groups.largest(3) == []


def test_copies_of_one_image_are_one_group() -> None:
    groups = _groups(np.repeat(unit_rows(np.ones((1, 8))), 50, axis=0), np.zeros(50, np.int64))
    assert groups.n_groups == 1
