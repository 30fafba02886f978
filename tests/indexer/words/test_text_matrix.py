import numpy as np
from sklearn.feature_extraction.text import TfidfTransformer

from indexer.words.text_matrix import count_matrix, inverse_document_frequency, tf_idf
from shared.words.features import weighted

_TEXTS = ["Red racing bicycle", "Green diver's watch", "", "red watch", "Crème brûlée"]


def test_features_are_those_of_a_query() -> None:
    counts = count_matrix(_TEXTS)
    idf = inverse_document_frequency(counts)
    np.testing.assert_allclose(tf_idf(counts, idf).toarray(), weighted(_TEXTS, idf), atol=1e-6)


def test_weights_are_those_of_scikit_learn() -> None:
    counts = count_matrix(_TEXTS)
    expected = TfidfTransformer().fit(counts).idf_
    np.testing.assert_allclose(inverse_document_frequency(counts), expected, rtol=1e-6)


def test_no_text_has_no_rows() -> None:
    assert count_matrix([]).shape[0] == 0
