"""A second target of fine-tuning: the words that the catalogue says of each picture's item.

A linear head predicts the TF-IDF features of the words from the embedding. Categories alone teach the tail to see all
items of one as the same; words teach it what tells them apart (docs/decisions/0034-words.md).
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.sparse import csr_array

from indexer.words.fit_projection import word_regression
from indexer.words.normal_equations import Sums
from shared.vectors import Vectors

_RIDGE = 0.3
_WEIGHT = 1.0
RECIPE = (_RIDGE, _WEIGHT)


class WordHead:
    """The head, started from a ridge regression on the embeddings of the tail as it is."""

    def __init__(self, embeddings: Vectors, texts: csr_array, length: float) -> None:
        """Fit the head.

        Args:
            embeddings: `(n, dim)` unit rows, of the training pictures.
            texts: `(n, n_features)`, unit rows or zero: of the words of each.
            length: the embeddings that `loss` is given are so much longer.
        """
        self._texts = texts
        sums = Sums.zero(embeddings.shape[1], texts.shape[1])
        sums.add(embeddings, texts)
        weights = word_regression(sums, _RIDGE)
        bias = (sums.texts - sums.embeddings @ weights) / sums.n
        self._weights = keras.Variable((weights / length).astype(np.float32), name="word_weights")
        self._bias = keras.Variable(bias.astype(np.float32), name="word_bias")

    @property
    def variables(self) -> Sequence[keras.Variable]:
        """Weights and bias."""
        return self._weights, self._bias

    def targets(self, pictures: NDArray[np.int64]) -> NDArray[np.float32]:
        """`(n,)` training pictures → `(n, n_features)` float32."""
        targets: NDArray[np.float32] = self._texts[pictures].toarray()
        return targets

    def loss(self, embeddings: Any, targets: Any) -> Any:
        """The mean of 1 − cosine of predicted and true features, weighted as a part of the whole loss."""
        predicted = tf.nn.l2_normalize(embeddings @ self._weights + self._bias, axis=1)
        cosines = tf.reduce_sum(predicted * tf.nn.l2_normalize(targets, axis=1), axis=1)
        return _WEIGHT * tf.reduce_mean(1 - cosines)
