"""The head that predicts a catalogue's words while the base is tuned."""

from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array

from shared.vectors import unit_rows

pytestmark = pytest.mark.tensorflow

_TEXTS = np.repeat(unit_rows(np.array([[1, 0, 1, 0, 0], [0, -1, 0, 0, 2], [0, 0, 1, 3, 0]], np.float32)), 20, axis=0)


def _embeddings() -> np.ndarray:
    """`(60, 6)` unit rows, of each text around another axis."""
    random = np.random.default_rng(0)
    return unit_rows((np.repeat(np.eye(3, 6), 20, axis=0) + random.normal(0, 0.1, (60, 6))).astype(np.float32))


@pytest.fixture
def head() -> Any:
    from indexer.backbone.fine_tuning.word_head import WordHead

    return WordHead(_embeddings(), csr_array(_TEXTS), 4.0)


def test_it_starts_by_predicting_the_words_of_what_it_was_fitted_to(head: Any) -> None:
    embeddings = 4 * _embeddings()
    right, wrong = (float(head.loss(embeddings, texts)) for texts in (_TEXTS, np.roll(_TEXTS, 20, axis=0)))
    assert right < 0.05
    assert wrong > right + 0.5


def test_targets_are_the_rows_of_the_pictures(head: Any) -> None:
    targets = head.targets(np.array([50, 3]))
    assert targets.dtype == np.float32
    np.testing.assert_array_equal(targets, _TEXTS[[50, 3]])


def test_pictures_without_words_teach_nothing(head: Any) -> None:
    import tensorflow as tf

    embeddings = tf.constant(4 * _embeddings()[:3])
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        loss = head.loss(embeddings, np.zeros((3, 5), np.float32))
    assert float(loss) == 1
    assert np.abs(tape.gradient(loss, embeddings).numpy()).max() == 0


def test_its_variables_are_weights_and_bias(head: Any) -> None:
    assert [tuple(variable.shape) for variable in head.variables] == [(6, 5), (5,)]
