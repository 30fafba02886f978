"""Training of a Dense softmax head on embeddings."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from indexer.console.progress import Stage
from shared.vectors import Vectors

# Chosen by held-out accuracy on the clothing photos; docs/decisions/0004-classifier.md.
_INPUT_SCALE = 0.3
_MIN_STD_SHARE = 0.1
_DROPOUT = 0.5
_LEARNING_RATE = 3e-3
_WEIGHT_DECAY = 1e-2
_BATCH = 256
_STEPS_PER_CALL = 32  # a step takes less time than Keras takes to call one
MAX_EPOCHS = 200
_PATIENCE_EPOCHS = 5
_MIN_LOSS_DROP = 1e-3
_PREFETCHED = 4


def fit_head(
    views: NDArray[np.floating[Any]],
    labels: NDArray[np.int64],
    validation: tuple[Vectors, NDArray[np.int64]] | None,
    n_categories: int,
    seed: int,
    stage: Stage,
    epochs: int | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
    """Train on standardised embeddings, then fold the standardisation into weights and bias.

    Args:
        views: `(n, dim)` unit rows.
        labels: `(n,)`, their columns.
        validation: `(m, dim)` and `(m,)` of others; training stops when their loss no longer falls. None trains for
            all epochs.
        n_categories: the number of columns.
        seed: of the initial weights and the order.
        stage: advanced once per epoch.
        epochs: the largest number of epochs; None for `MAX_EPOCHS`.

    Returns:
        Weights `(dim, n_categories)` and bias `(n_categories,)` float32, and the number of epochs.
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    mean, scale = _standardisation(views)
    head = keras.Sequential(
        [
            keras.layers.Input((views.shape[1],)),
            keras.layers.Rescaling(scale, offset=-mean * scale),
            keras.layers.Dropout(_DROPOUT),
            keras.layers.Dense(n_categories),
        ]
    )
    head.compile(
        keras.optimizers.AdamW(_LEARNING_RATE, weight_decay=_WEIGHT_DECAY),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=_STEPS_PER_CALL,
    )
    callbacks: list[keras.callbacks.Callback] = [
        keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: stage.advance())
    ]
    if validation is not None:
        callbacks.append(
            keras.callbacks.EarlyStopping(
                "val_loss", min_delta=_MIN_LOSS_DROP, patience=_PATIENCE_EPOCHS, restore_best_weights=True
            )
        )
    counts = np.bincount(labels, minlength=n_categories)
    history = head.fit(
        _batches(views, labels, seed),
        epochs=MAX_EPOCHS if epochs is None else epochs,
        class_weight={label: len(labels) / n_categories / count for label, count in enumerate(counts)},
        validation_data=validation,
        callbacks=callbacks,
        shuffle=False,  # `_batches` shuffles
        verbose=0,
    )
    kernel, bias = head.layers[-1].get_weights()
    weights = (kernel * scale[:, np.newaxis]).astype(np.float32)
    return weights, (bias - mean @ weights).astype(np.float32), len(history.epoch)


def _standardisation(views: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The mean to subtract from each dimension, and the factor to multiply it by afterwards."""
    mean = views.mean(axis=0, dtype=np.float32)
    squares = np.einsum("ij,ij->j", views, views, dtype=np.float32) / len(views)
    std = np.sqrt(np.maximum(squares - mean**2, 0.0))
    # A dimension that hardly varies in a small catalogue may well vary in a query, and would dominate its logits.
    return mean, (_INPUT_SCALE / (np.maximum(std, _MIN_STD_SHARE * std.mean()) + 1e-6)).astype(np.float32)


def _batches(views: NDArray[np.floating[Any]], labels: NDArray[np.int64], seed: int) -> tf.data.Dataset:
    """Return batches of views and labels, in a new order each epoch.

    Views are converted one batch at a time: given all at once, Keras would hold a second copy of them, as float32.
    """

    def rows(chosen: NDArray[np.int64]) -> NDArray[np.float32]:
        return views[chosen].astype(np.float32)

    def batch(chosen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        batch_views = tf.ensure_shape(tf.numpy_function(rows, [chosen], tf.float32), (None, views.shape[1]))
        return batch_views, tf.gather(labels, chosen)

    return tf.data.Dataset.range(len(labels)).shuffle(len(labels), seed).batch(_BATCH).map(batch).prefetch(_PREFETCHED)
