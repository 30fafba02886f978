from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from indexer.embedding.cache import EmbeddingCache
from indexer.embedding.views import CachedViews
from indexer.groups import catalogue_images as module
from indexer.groups.catalogue_images import CatalogueImages
from indexer.groups.nearest_images import nearest_images
from shared.errors import StorageError
from tests.support.builders.series import DIM, make_series


@pytest.fixture
def cached(tmp_path: Path):
    """A catalogue of three views an image whose embeddings are in the cache."""
    embedded = make_series(n_views=3).embedded
    with closing(EmbeddingCache(tmp_path / "cache.sqlite", "r", 3, print)) as cache:
        for digest, views in zip(embedded.digests, embedded.views, strict=True):
            cache.put(digest, views)
        views = CachedViews(cache, embedded.digests, embedded.views.shape, lambda _: pytest.fail("cached"))
        yield embedded, embedded.__class__(embedded.items, embedded.image_items, embedded.digests, views, (), 0)


@pytest.mark.parametrize("max_exact", [10, 10_000])
def test_originals_are_read_wherever_they_are(
    cached, max_exact: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    embedded, from_cache = cached
    monkeypatch.setattr(module, "MAX_EXACT", max_exact)
    monkeypatch.setattr(module, "_BLOCK", 50)
    images = CatalogueImages.of(from_cache, tmp_path)
    assert isinstance(images.rows, np.memmap) == (max_exact == 10)
    assert len(images) == len(embedded.digests)
    some = np.array([300, 2, 2, 77])
    np.testing.assert_array_equal(images.embeddings(some), embedded.originals[some])
    blocks = list(images.blocks(3))
    np.testing.assert_array_equal(np.concatenate([numbers for numbers, _ in blocks]), np.arange(0, len(images), 3))
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in blocks]), embedded.originals[::3])
    assert [path.name for path in tmp_path.iterdir() if "sqlite" not in path.name] == []  # the copy has no name
    near = nearest_images(images)
    np.testing.assert_array_equal(near.images, nearest_images(CatalogueImages.of(embedded)).images)


def test_a_full_disk_is_reported(cached, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def full(_: int, start: int, size: int) -> None:
        assert size == 384 * DIM * 4
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "MAX_EXACT", 10)
    monkeypatch.setattr(module.os, "posix_fallocate", full)
    with pytest.raises(StorageError, match=r"search of near images: No space left on device"):
        CatalogueImages.of(cached[1], tmp_path)
