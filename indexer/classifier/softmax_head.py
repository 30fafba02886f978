"""Training of Dense softmax heads on embeddings: several at once, each of which leaves out other views.

The heads are the columns of one Dense layer. Each view counts in the loss of those heads alone that are to learn it, so
that heads of several folds take hardly more time than one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from indexer.console.progress import Stage
from indexer.snapshots.classifier_heads import LinearHead
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


@dataclass(frozen=True)
class Validation:
    """Images that decide when to stop, each evaluated by a head that does not learn it.

    Attributes:
        images: `(m, dim)` float32, unit rows.
        labels: `(m,)` int64, columns.
        heads: `(m,)` int64, the head of each.
    """

    images: Vectors
    labels: NDArray[np.int64]
    heads: NDArray[np.int64]


@dataclass(frozen=True)
class FittedHeads:
    """Heads for unit embeddings, and the number of epochs that they were trained for.

    Attributes:
        weights: `(n_heads, dim, n_categories)` float32.
        bias: `(n_heads, n_categories)` float32.
        epochs: the number of epochs.
    """

    weights: NDArray[np.float32]
    bias: NDArray[np.float32]
    epochs: int

    def linear(self) -> list[LinearHead]:
        """Weights and bias of each head."""
        return list(zip(self.weights, self.bias, strict=True))


def fit_head(
    views: NDArray[np.floating[Any]],
    labels: NDArray[np.int64],
    validation: tuple[Vectors, NDArray[np.int64]] | None,
    n_categories: int,
    seed: int,
    stage: Stage,
    epochs: int | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
    """Train one head on all views; arguments as of `fit_heads`.

    Returns:
        Weights `(dim, n_categories)` and bias `(n_categories,)` float32, and the number of epochs.
    """
    images = None if validation is None else Validation(*validation, np.zeros(len(validation[1]), np.int64))
    left_out = np.zeros((len(labels), 1), dtype=np.bool_)
    fitted = fit_heads(views, labels, left_out, images, n_categories, seed, stage, epochs)
    return fitted.weights[0], fitted.bias[0], fitted.epochs


def fit_heads(
    views: NDArray[np.floating[Any]],
    labels: NDArray[np.int64],
    left_out: NDArray[np.bool_],
    validation: Validation | None,
    n_categories: int,
    seed: int,
    stage: Stage,
    epochs: int | None = None,
) -> FittedHeads:
    """Train on standardised embeddings, then fold the standardisation into weights and bias.

    Args:
        views: `(n, dim)` unit rows.
        labels: `(n,)`, their columns.
        left_out: `(n, n_heads)`, True where a head does not learn a view.
        validation: training stops when its mean loss no longer falls, and the heads are those of the lowest. None
            trains for all epochs.
        n_categories: the number of columns.
        seed: of the initial weights and the order.
        stage: advanced once per epoch.
        epochs: the largest number of epochs; None for `MAX_EPOCHS`.
    """
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    (_, n_heads), mean, scale = left_out.shape, *_standardisation(views)
    layer = keras.layers.Dense(n_heads * n_categories)
    model = keras.Sequential(
        [
            keras.layers.Input((views.shape[1],)),
            keras.layers.Rescaling(scale, offset=-mean * scale),
            keras.layers.Dropout(_DROPOUT),
            layer,
            keras.layers.Reshape((n_heads, n_categories)),
        ]
    )
    _start_alike(layer, n_heads, n_categories, seed)
    model.compile(
        keras.optimizers.AdamW(_LEARNING_RATE, weight_decay=_WEIGHT_DECAY),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=_STEPS_PER_CALL,
    )
    progress = _Progress(layer, (mean, scale), n_heads, validation, stage)
    history = model.fit(
        _batches(views, labels, _weights(labels, left_out, n_categories), seed),
        epochs=MAX_EPOCHS if epochs is None else epochs,
        callbacks=[progress],
        shuffle=False,  # `_batches` shuffles
        verbose=0,
    )
    return progress.best or FittedHeads(*progress.heads(), len(history.epoch))


def _start_alike(layer: keras.layers.Dense, n_heads: int, n_categories: int, seed: int) -> None:
    """Give all heads the same initial weights, so that what tells them apart is what they leave out."""
    dim = layer.kernel.shape[0]
    reach = np.sqrt(6 / (dim + n_categories))  # of Glorot and Bengio, 2010, for one head
    kernel = np.random.default_rng(seed).uniform(-reach, reach, (dim, n_categories))
    layer.set_weights([np.tile(kernel, n_heads), np.zeros(n_heads * n_categories)])


def _weights(labels: NDArray[np.int64], left_out: NDArray[np.bool_], n_categories: int) -> NDArray[np.float32]:
    """`(n, n_heads)` float32: the weight of each view in each head's loss, such that all categories weigh the same."""
    counts = np.maximum(np.bincount(labels, minlength=n_categories), 1)
    by_label = len(labels) / n_categories / counts
    # Keras divides by the number of losses, which is the number of views times that of heads.
    weights: NDArray[np.float32] = (left_out.shape[1] * by_label[labels][:, np.newaxis] * ~left_out).astype(np.float32)
    return weights


class _Progress(keras.callbacks.Callback):  # type: ignore[misc]  # Keras comes without types
    """Stops training when the validation's loss no longer falls; `best` has the heads of the lowest."""

    def __init__(
        self,
        layer: keras.layers.Dense,
        standardisation: tuple[NDArray[np.float32], NDArray[np.float32]],
        n_heads: int,
        validation: Validation | None,
        stage: Stage,
    ) -> None:
        super().__init__()
        self._layer, self._standardisation, self._n_heads = layer, standardisation, n_heads
        self._validation, self._stage = validation, stage
        self._lowest = np.inf
        self.best: FittedHeads | None = None

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self._stage.advance()
        if self._validation is None:
            return
        heads = self.heads()
        loss = _loss(*heads, self._validation)
        if self.best is None or loss < self._lowest - _MIN_LOSS_DROP:
            self._lowest, self.best = loss, FittedHeads(*heads, epoch + 1)
        elif epoch + 1 - self.best.epochs >= _PATIENCE_EPOCHS:
            self.model.stop_training = True

    def heads(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weights `(n_heads, dim, n_categories)` and bias `(n_heads, n_categories)` for embeddings as they are."""
        mean, scale = self._standardisation
        kernel, bias = self._layer.get_weights()
        weights = kernel.reshape(len(kernel), self._n_heads, -1).transpose(1, 0, 2) * scale[:, np.newaxis]
        weights = np.ascontiguousarray(weights, dtype=np.float32)
        return weights, (bias.reshape(self._n_heads, -1) - mean @ weights).astype(np.float32)


def _loss(weights: NDArray[np.float32], bias: NDArray[np.float32], validation: Validation) -> float:
    """The mean negative log likelihood of the images, each by its own head."""
    losses = np.zeros(len(validation.labels))
    for head in np.unique(validation.heads):
        own = validation.heads == head
        logits = validation.images[own] @ weights[head] + bias[head]
        highest = logits.max(axis=1)
        total = highest + np.log(np.exp(logits - highest[:, np.newaxis]).sum(axis=1))
        losses[own] = total - logits[np.arange(len(logits)), validation.labels[own]]
    return float(losses.mean())


def _standardisation(views: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The mean to subtract from each dimension, and the factor to multiply it by afterwards."""
    mean = views.mean(axis=0, dtype=np.float32)
    squares = np.einsum("ij,ij->j", views, views, dtype=np.float32) / len(views)
    std = np.sqrt(np.maximum(squares - mean**2, 0.0))
    # A dimension that hardly varies in a small catalogue may well vary in a query, and would dominate its logits.
    return mean, (_INPUT_SCALE / (np.maximum(std, _MIN_STD_SHARE * std.mean()) + 1e-6)).astype(np.float32)


def _batches(
    views: NDArray[np.floating[Any]], labels: NDArray[np.int64], weights: NDArray[np.float32], seed: int
) -> tf.data.Dataset:
    """Return batches of views, of labels for each head and of weights, in a new order each epoch.

    Views are converted one batch at a time: given all at once, Keras would hold a second copy of them, as float32.
    """
    n_heads = weights.shape[1]

    def rows(chosen: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
        return views[chosen].astype(np.float32), np.tile(labels[chosen, np.newaxis], n_heads), weights[chosen]

    def batch(chosen: tf.Tensor) -> Sequence[tf.Tensor]:
        parts = tf.numpy_function(rows, [chosen], (tf.float32, tf.int64, tf.float32))
        shapes = ((None, views.shape[1]), (None, n_heads), (None, n_heads))
        return tuple(tf.ensure_shape(part, shape) for part, shape in zip(parts, shapes, strict=True))

    return tf.data.Dataset.range(len(labels)).shuffle(len(labels), seed).batch(_BATCH).map(batch).prefetch(_PREFETCHED)
