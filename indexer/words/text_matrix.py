"""The features of many texts, as a sparse matrix."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array

from shared.words.features import N_FEATURES, text_features
from shared.words.tokens import words


def count_matrix(texts: Iterable[str]) -> csr_array:
    """`(n_texts, N_FEATURES)` float32: the signed counts of each text's features."""
    starts, buckets, counts = [0], list[NDArray[np.int32]](), list[NDArray[np.float32]]()
    for text in texts:
        features = text_features(words(text))
        buckets.append(np.fromiter(features.keys(), np.int32, len(features)))
        counts.append(np.fromiter(features.values(), np.float32, len(features)))
        starts.append(starts[-1] + len(features))
    values = np.concatenate(counts) if counts else np.zeros(0, np.float32)
    columns = np.concatenate(buckets) if buckets else np.zeros(0, np.int32)
    return csr_array((values, columns, np.array(starts)), shape=(len(starts) - 1, N_FEATURES))


def inverse_document_frequency(counts: csr_array) -> NDArray[np.float32]:
    """`(N_FEATURES,)` float32: the smoothed weights of scikit-learn's `TfidfTransformer`."""
    n_with = np.bincount(counts.indices[counts.data != 0], minlength=N_FEATURES)
    idf: NDArray[np.float32] = (np.log((1 + counts.shape[0]) / (1 + n_with)) + 1).astype(np.float32)
    return idf


def tf_idf(counts: csr_array, idf: NDArray[np.float32]) -> csr_array:
    """Weigh the counts and normalise each row; the same values as `shared.words.features.weighted`."""
    rows = csr_array(counts @ diags_array(idf))
    lengths = np.sqrt(np.asarray((rows * rows).sum(axis=1)).ravel())
    return csr_array(diags_array(1 / np.where(lengths > 0, lengths, 1)) @ rows).astype(np.float32)
