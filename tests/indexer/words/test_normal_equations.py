import numpy as np

from indexer.words import normal_equations
from indexer.words.described import described_text
from indexer.words.normal_equations import LearnedImages, sums_by_fold
from indexer.words.text_matrix import count_matrix, inverse_document_frequency, tf_idf
from tests.support.builders.described import make_described


def _images(n: int = 200) -> LearnedImages:
    embedded, _ = make_described(n)
    counts = count_matrix(described_text(item, ("title",)) for item in embedded.items)
    texts = tf_idf(counts, inverse_document_frequency(counts))
    return LearnedImages(embedded.views, np.arange(n), np.arange(n) % 4 - 1, texts)


def test_the_sums_are_those_of_all_images_and_of_each_fold(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(normal_equations, "_CHUNK", 64)
    images = _images()
    total, folds = sums_by_fold(images, 3)
    rows, texts = images.views[:, 0].astype(np.float64), images.texts.toarray()
    for sums, chosen in [(total, images.folds >= -1), *((folds[fold], images.folds == fold) for fold in range(3))]:
        assert sums.n == chosen.sum()
        np.testing.assert_allclose(sums.squares, rows[chosen].T @ rows[chosen], atol=1e-4)
        np.testing.assert_allclose(sums.products, rows[chosen].T @ texts[chosen], atol=1e-4)
    without = total - folds[1]
    chosen = images.folds != 1
    centred = rows[chosen] - rows[chosen].mean(axis=0)
    squares, products = without.centred()
    np.testing.assert_allclose(squares, centred.T @ centred, atol=1e-3)
    np.testing.assert_allclose(products, centred.T @ texts[chosen], atol=1e-3)
