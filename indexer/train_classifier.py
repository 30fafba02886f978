"""Train the head: one Dense softmax on the base's embeddings of originals and augmented copies.

1. Train in Keras on what is not held out, with class weights, until the held-out loss stops falling. Beyond very many
   categories this is left out: the more, the longer an epoch takes.
2. Add as much of a discriminant analysis to weights and bias as the held-out items prefer.
3. Fit the temperature on the held-out items (Guo et al., 2017, "On Calibration of Modern Neural Networks").
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from indexer.calibration import calibrated
from indexer.discriminant import discriminant_head
from indexer.embed import EmbeddedCatalogue
from indexer.held_out import HeldOut
from indexer.read_feedback import LabelledQueries
from indexer.report import Stage
from shared.classifier import Classifier
from shared.vectors import Vectors

# Chosen by held-out accuracy on the clothing photos, benchmarks/classifier.py; docs/decisions/0004-classifier.md.
_INPUT_SCALE = 0.3
_MIN_STD_SHARE = 0.1
_DROPOUT = 0.5
_LEARNING_RATE = 3e-3
_WEIGHT_DECAY = 1e-2
_BATCH = 256
_STEPS_A_CALL = 32  # a step takes less time than Keras takes to call one
_MAX_EPOCHS = 200
_PATIENCE_EPOCHS = 5
_MIN_LOSS_DROP = 1e-3
_EPOCHS_WITHOUT_HELD_OUT = 30
_MAX_LEARNED_VIEWS = 50_000  # 0.13 GB: memory must not grow with the catalogue
_PREFETCHED = 4
_CHUNK_IMAGES = 4096
_DISCRIMINANT_WEIGHTS = (0.0, 0.1, 0.2, 0.3)
_MOST_TRAINED_CATEGORIES = 1_000


def train_classifier(
    embedded: EmbeddedCatalogue, held_out: HeldOut, seed: int, stage: Stage, queries: LabelledQueries | None = None
) -> tuple[Classifier, int]:
    """Train the head on a catalogue; the same catalogue and seed give the same head.

    Args:
        embedded: the catalogue's views.
        held_out: the items that it must not see, to stop by and to fit the temperature on.
        seed: of the start and the order.
        stage: is told of each epoch.
        queries: to learn from as well; none of them is held out.

    Returns:
        The head, and the epochs that it was trained for.
    """
    categories = embedded.categories
    if len(categories) == 1:  # there is nothing to learn: every query belongs to it
        return Classifier(categories, np.zeros((embedded.views.shape[-1], 1), np.float32), np.zeros(1, np.float32)), 0
    learned, labels = _learned(embedded, held_out, categories, seed, queries)
    trained, epochs = _trained(learned, labels, held_out, categories, seed, stage)
    if epochs and not held_out.n_images:
        return trained, epochs
    other = Classifier(categories, *discriminant_head(learned, labels, len(categories)))
    if not held_out.n_images:
        return _mixed(trained, other, _DISCRIMINANT_WEIGHTS[-1]), epochs
    weights = _DISCRIMINANT_WEIGHTS if epochs else _DISCRIMINANT_WEIGHTS[1:]
    mixed = [calibrated(_mixed(trained, other, weight), held_out) for weight in weights]
    return min(mixed, key=held_out.log_loss), epochs


def _trained(
    learned: NDArray[np.float16],
    labels: NDArray[np.int64],
    held_out: HeldOut,
    categories: tuple[str, ...],
    seed: int,
    stage: Stage,
) -> tuple[Classifier, int]:
    """The softmax and its epochs; of very many categories one that says nothing, after none."""
    if len(categories) > _MOST_TRAINED_CATEGORIES:
        zeros = np.zeros((learned.shape[1], len(categories)), np.float32)
        return Classifier(categories, zeros, zeros[0]), 0
    judged, judged_labels = held_out.originals, held_out.columns(categories)
    weights, bias, epochs = fit_head(learned, labels, judged, judged_labels, len(categories), seed, stage)
    return Classifier(categories, weights, bias), epochs


def _mixed(head: Classifier, other: Classifier, weight: float) -> Classifier:
    """The head whose logits are the one's and so much of the other's."""
    return Classifier(head.categories, head.weights + weight * other.weights, head.bias + weight * other.bias)


def _learned(
    embedded: EmbeddedCatalogue,
    held_out: HeldOut,
    categories: Sequence[str],
    seed: int,
    queries: LabelledQueries | None = None,
) -> tuple[NDArray[np.float16], NDArray[np.int64]]:
    """The views to learn from, `(n, dim)` float16, and their columns; of very many images a balanced part.

    A query counts as much as an image of the catalogue, in that choice and beyond it: as often as an image has views.
    """
    images = np.flatnonzero(~held_out.items[embedded.image_items])
    labels = embedded.columns(images, categories)
    if queries is not None:
        labels = np.concatenate([labels, queries.columns(categories)])
    n_views, dim = embedded.views.shape[1:]
    chosen = balanced(labels, max(1, _MAX_LEARNED_VIEWS // n_views), seed)
    views = np.empty((len(chosen), n_views, dim), dtype=np.float16)
    n_images = int(np.searchsorted(chosen, len(images)))  # `chosen` ascends: queries come last
    for start in range(0, n_images, _CHUNK_IMAGES):
        part = slice(start, min(start + _CHUNK_IMAGES, n_images))
        views[part] = embedded.views[images[chosen[part]]]
    if queries is not None:
        views[n_images:] = queries.embeddings[chosen[n_images:] - len(images), np.newaxis]
    return views.reshape(-1, dim), np.repeat(labels[chosen], n_views)


def balanced(labels: NDArray[np.int64], most: int, seed: int) -> NDArray[np.int64]:
    """Choose at most so many, as evenly over the labels as they allow.

    Args:
        labels: `(n,)`.
        most: how many at most.
        seed: of the choice.

    Returns:
        The places of those chosen, ascending.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_label = shuffled[np.argsort(labels[shuffled], kind="stable")]
    starts = np.searchsorted(labels[by_label], labels[by_label])
    turn = np.arange(len(labels)) - starts  # the first of every label, then the second of every label, …
    return np.sort(by_label[np.argsort(turn, kind="stable")[:most]])


def fit_head(
    learned: NDArray[np.floating[Any]],
    learned_labels: NDArray[np.int64],
    judged: Vectors,
    judged_labels: NDArray[np.int64],
    n_categories: int,
    seed: int,
    stage: Stage,
) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
    """Train on standardised embeddings, then fold the standardisation into weights and bias."""
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    mean, scale = _standardisation(learned)
    head = keras.Sequential(
        [
            keras.layers.Input((learned.shape[1],)),
            keras.layers.Rescaling(scale, offset=-mean * scale),
            keras.layers.Dropout(_DROPOUT),
            keras.layers.Dense(n_categories),
        ]
    )
    head.compile(
        keras.optimizers.AdamW(_LEARNING_RATE, weight_decay=_WEIGHT_DECAY),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        steps_per_execution=_STEPS_A_CALL,
    )
    callbacks: list[keras.callbacks.Callback] = [
        keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: stage.advance())
    ]
    if len(judged):
        callbacks.append(
            keras.callbacks.EarlyStopping(
                "val_loss", min_delta=_MIN_LOSS_DROP, patience=_PATIENCE_EPOCHS, restore_best_weights=True
            )
        )
    counts = np.bincount(learned_labels, minlength=n_categories)
    history = head.fit(
        _batches(learned, learned_labels, seed),
        epochs=_MAX_EPOCHS if len(judged) else _EPOCHS_WITHOUT_HELD_OUT,
        class_weight={label: len(learned_labels) / n_categories / count for label, count in enumerate(counts)},
        validation_data=(judged, judged_labels) if len(judged) else None,
        callbacks=callbacks,
        shuffle=False,  # `_batches` does
        verbose=0,
    )
    kernel, bias = head.layers[-1].get_weights()
    weights = (kernel * scale[:, np.newaxis]).astype(np.float32)
    return weights, (bias - mean @ weights).astype(np.float32), len(history.epoch)


def _standardisation(learned: NDArray[np.floating[Any]]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """What is subtracted from each dimension, and what it is multiplied by then."""
    mean = learned.mean(axis=0, dtype=np.float32)
    squares = np.einsum("ij,ij->j", learned, learned, dtype=np.float32) / len(learned)
    std = np.sqrt(np.maximum(squares - mean**2, 0.0))
    # What hardly varies in a small catalogue may well vary in a query, and would outweigh all the rest of it.
    return mean, (_INPUT_SCALE / (np.maximum(std, _MIN_STD_SHARE * std.mean()) + 1e-6)).astype(np.float32)


def _batches(views: NDArray[np.floating[Any]], labels: NDArray[np.int64], seed: int) -> tf.data.Dataset:
    """Views and labels in a new order each epoch.

    Views are taken a batch at a time: given all at once, Keras would hold them once more, as float32.
    """

    def rows(chosen: NDArray[np.int64]) -> NDArray[np.float32]:
        return views[chosen].astype(np.float32)

    def batch(chosen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        taken = tf.ensure_shape(tf.numpy_function(rows, [chosen], tf.float32), (None, views.shape[1]))
        return taken, tf.gather(labels, chosen)

    return tf.data.Dataset.range(len(labels)).shuffle(len(labels), seed).batch(_BATCH).map(batch).prefetch(_PREFETCHED)
