from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from indexer.words.fit_projection import Choice, choose_strength, clustered_standard_error, fit_projection, word_metric
from indexer.words.normal_equations import LearnedImages, sums_by_fold
from indexer.words.text_matrix import count_matrix, inverse_document_frequency, tf_idf
from tests.support.builders.described import make_described, nearest

_CHOICE = Choice(0.1, 2.0, 0.0, 0.0, 0.0)


def _images(shuffled: bool = False) -> LearnedImages:
    embedded, _ = make_described(400, shuffled=shuffled)
    counts = count_matrix(
        item.metadata["title"] for item in embedded.items
    )  # not the category, which is never shuffled
    n = len(embedded.items)
    return LearnedImages(
        embedded.views, np.arange(n), np.arange(n) % 5, tf_idf(counts, inverse_document_frequency(counts))
    )


def test_the_metric_is_that_of_a_ridge_regression() -> None:
    images = _images()
    total, _ = sums_by_fold(images, 5)
    weights = Ridge(0.1).fit(images.views[:, 0], images.texts.toarray()).coef_
    np.testing.assert_allclose(word_metric(total, 0.1), weights.T @ weights, atol=1e-3)


def test_the_projection_has_the_inner_products_of_the_metric() -> None:
    images = _images()
    total, _ = sums_by_fold(images, 5)
    rows = images.views[:20, 0].astype(np.float64)
    products = rows @ (np.eye(rows.shape[1]) + 4 * word_metric(total, 0.1)) @ rows.T
    lengths = np.sqrt(np.diag(products))
    projected = fit_projection(total, _CHOICE).apply(images.views[:20, 0])
    np.testing.assert_allclose(projected @ projected.T, products / np.outer(lengths, lengths), atol=1e-3)


def test_new_images_find_more_of_the_same_words() -> None:
    images = _images()
    total, folds = sums_by_fold(images, 5)
    choice = choose_strength(images, total, folds, images.images)
    assert choice.strength > 0
    assert choice.projected > choice.plain + 5 * choice.standard_error
    (gallery, titles), (queries, query_titles) = make_described(400), make_described(200, seed=7)
    projection = fit_projection(total, choice)

    def found(project) -> float:  # type: ignore[no-untyped-def]
        hits = nearest(project(queries.views[:, 0]), project(gallery.views[:, 0]))
        return float(np.mean([titles[hit] == title for hit, title in zip(hits, query_titles, strict=True)]))

    assert found(projection.apply) > found(lambda rows: rows) + 0.15


def test_words_that_say_nothing_of_the_images_give_no_projection() -> None:
    images = _images(shuffled=True)
    total, folds = sums_by_fold(images, 5)
    assert choose_strength(images, total, folds, images.images).strength == 0


def test_copies_of_an_image_are_no_further_evidence() -> None:
    values = np.random.default_rng(1).standard_normal(200)
    groups = np.arange(200)
    alone = clustered_standard_error(values, groups)
    np.testing.assert_allclose(alone, values.std(ddof=1) / np.sqrt(200))
    np.testing.assert_allclose(clustered_standard_error(np.repeat(values, 4), np.repeat(groups, 4)), alone)
    assert clustered_standard_error(values, np.zeros(200, np.int64)) == np.inf


@pytest.mark.parametrize(("fold", "n_folds"), [(-1, 0), (0, 1), (3, 5)])
def test_images_that_can_be_compared_with_no_others_give_no_projection(fold: int, n_folds: int) -> None:
    images = _images()
    images = replace(images, folds=np.full(len(images.folds), fold))
    total, folds = sums_by_fold(images, n_folds)
    assert choose_strength(images, total, folds, images.images).strength == 0


def test_a_single_group_is_no_evidence_and_its_error_can_be_written() -> None:
    images = _images()
    images = replace(images, folds=np.where(images.folds == 0, 0, -1))
    total, folds = sums_by_fold(images, 1)
    choice = choose_strength(images, total, folds, np.zeros(len(images.folds), np.int64))
    assert (choice.strength, choice.standard_error) == (0, 0)
