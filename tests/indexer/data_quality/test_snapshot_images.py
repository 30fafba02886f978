import numpy as np
import pytest

from indexer.data_quality import snapshot_images as module
from indexer.data_quality.snapshot_images import SnapshotImages
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from tests.support.builders.partitions import make_originals, open_partitions


@pytest.mark.parametrize("index_views", ["original", "all"])
def test_every_untouched_image_is_there_with_its_embedding(embedded: EmbeddedCatalogue, index_views: str) -> None:
    partitions, items = open_partitions(embedded, index_views)
    originals = SnapshotImages.of(items, partitions)
    assert len(originals) == 7
    assert [originals.item(image).item_id for image in range(7)] == ["r1", "r1", "b1", "r2", "b2", "b2", "b2"]
    assert [originals.path(image) for image in (0, 1, 6)] == ["red.png", "orange.png", "cyan.png"]
    assert originals.categories == ("cold", "warm")
    assert originals.columns.tolist() == [1, 1, 0, 1, 0, 0, 0]
    assert tuple(originals.digest(image) for image in range(7)) == embedded.digests
    np.testing.assert_array_equal(originals.embeddings(np.arange(7)), embedded.originals)
    np.testing.assert_array_equal(originals.embeddings(np.array([5, 0, 5])), embedded.originals[[5, 0, 5]])


def test_blocks_are_all_of_it(embedded: EmbeddedCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 3)
    originals = make_originals(embedded.originals, ["warm", "cold"] * 3 + ["warm"])
    blocks = list(originals.blocks())
    assert [images.tolist() for images, _ in blocks] == [[0, 1, 2], [3, 4, 5], [6]]
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in blocks]), embedded.originals)


def test_blocks_of_a_sample_are_each_second_image(embedded: EmbeddedCatalogue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 3)
    originals = make_originals(embedded.originals, ["warm", "cold"] * 3 + ["warm"])
    blocks = list(originals.blocks(step=2))
    assert [images.tolist() for images, _ in blocks] == [[0, 2, 4], [6]]
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in blocks]), embedded.originals[::2])
