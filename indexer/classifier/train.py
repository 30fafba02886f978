"""Train the head: one Dense softmax on the base's embeddings of originals and augmented copies.

1. Train in Keras on what is not held out, with class weights, until the held-out loss stops falling. Beyond very many
   categories this is left out: the more, the longer an epoch takes.
2. Add as much of a discriminant analysis to weights and bias as the held-out items prefer.
3. Fit the temperature on the held-out items (Guo et al., 2017, "On Calibration of Modern Neural Networks").
4. Learn all items by what was found best, unless they are too many to learn all: as many epochs, as much of the
   analysis, the same temperature.
"""

from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from indexer.classifier.calibration import calibrated
from indexer.classifier.feedback_queries import LabelledQueries
from indexer.classifier.held_out import HeldOut
from indexer.classifier.lda import discriminant_head
from indexer.console.progress import Stage
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.snapshots.classifier_heads import Heads
from shared.model.classifier import Classifier
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
_DISCRIMINANT_SHARES = (0.0, 0.1, 0.2, 0.3)
_MOST_TRAINED_CATEGORIES = 1_000


def train_classifier(
    embedded: EmbeddedCatalogue, held_out: HeldOut, seed: int, stage: Stage, queries: LabelledQueries | None = None
) -> tuple[Heads, int]:
    """Train the head on a catalogue; the same catalogue and seed give the same head.

    Args:
        embedded: the catalogue's views.
        held_out: the items that it must not see at first, to stop by and to fit the temperature on.
        seed: of the start and the order.
        stage: is told of each epoch.
        queries: to learn from as well; none of them is held out.

    Returns:
        The head, and the epochs that it was trained for.
    """
    categories = embedded.categories
    if len(categories) == 1:  # there is nothing to learn: every query belongs to it
        zeros = np.zeros((embedded.views.shape[-1], 1), np.float32)
        return Heads.without_refit(Classifier(categories, zeros, zeros[0])), 0
    most_epochs = _MAX_EPOCHS if len(categories) <= _MOST_TRAINED_CATEGORIES else 0
    every = np.ones_like(held_out.items)
    if not held_out.n_images:
        epochs = min(most_epochs, _EPOCHS_WITHOUT_HELD_OUT)
        share = 0.0 if epochs else _DISCRIMINANT_SHARES[-1]
        return Heads.without_refit(_Lesson.of(embedded, every, seed, queries).head(epochs, share, stage)), epochs
    lesson = _Lesson.of(embedded, ~held_out.items, seed, queries)
    judged, epochs, share = _best_head(lesson, held_out, most_epochs, stage)
    if lesson.is_part:  # as many others would teach no more
        return Heads.without_refit(judged), epochs
    del lesson  # or its views would lie in memory beside those of all items
    served = _Lesson.of(embedded, every, seed, queries).head(epochs, share, stage)
    return Heads(replace(judged, weights=served.weights, bias=served.bias), judged), epochs


def _best_head(lesson: "_Lesson", held_out: HeldOut, most_epochs: int, stage: Stage) -> tuple[Classifier, int, float]:
    """The head that held-out items prefer, calibrated; its epochs, and the share of the analysis in it."""
    trained, epochs = lesson.softmax(most_epochs, stage, held_out)
    shares = _DISCRIMINANT_SHARES if epochs else _DISCRIMINANT_SHARES[1:]
    analysis = lesson.analysis()
    mixed = {share: calibrated(_mixed(trained, analysis, share), held_out) for share in shares}
    best = min(mixed, key=lambda share: held_out.log_loss(mixed[share]))
    return mixed[best], epochs, best


def _mixed(head: Classifier, other: Classifier, share: float) -> Classifier:
    """The head whose logits are the one's and so much of the other's."""
    return Classifier(head.categories, head.weights + share * other.weights, head.bias + share * other.bias)


@dataclass(frozen=True)
class _Lesson:
    """What is learned.

    Attributes:
        categories: in the order of the columns.
        views: `(n, dim)` float16.
        labels: `(n,)` int64, their columns.
        seed: of the start and the order.
        is_part: whether there were too many images to take all.
    """

    categories: tuple[str, ...]
    views: NDArray[np.float16]
    labels: NDArray[np.int64]
    seed: int
    is_part: bool

    @classmethod
    def of(
        cls, embedded: EmbeddedCatalogue, items: NDArray[np.bool_], seed: int, queries: LabelledQueries | None
    ) -> "_Lesson":
        """The views of some items; of very many images a balanced part.

        A query counts as much as an image of the catalogue, in that choice and beyond it: as often as an image has
        views.
        """
        categories = embedded.categories
        images = np.flatnonzero(items[embedded.image_items])
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
        is_part = len(chosen) < len(labels)
        return cls(categories, views.reshape(-1, dim), np.repeat(labels[chosen], n_views), seed, is_part)

    def head(self, epochs: int, share: float, stage: Stage) -> Classifier:
        """Trained for so many epochs, with such a share of the analysis."""
        trained, _ = self.softmax(epochs, stage)
        return _mixed(trained, self.analysis(), share) if share else trained

    def analysis(self) -> Classifier:
        """The discriminant analysis."""
        return Classifier(self.categories, *discriminant_head(self.views, self.labels, len(self.categories)))

    def softmax(self, epochs: int, stage: Stage, held_out: HeldOut | None = None) -> tuple[Classifier, int]:
        """A softmax and its epochs; of none, one that says nothing.

        Args:
            epochs: at most.
            stage: is told of each.
            held_out: stops it as soon as it gets no better; else it is trained for all of them.
        """
        n_categories = len(self.categories)
        if not epochs:
            zeros = np.zeros((self.views.shape[1], n_categories), np.float32)
            return Classifier(self.categories, zeros, zeros[0]), 0
        judged = None if held_out is None else (held_out.originals, held_out.columns(self.categories))
        weights, bias, done = fit_head(self.views, self.labels, judged, n_categories, self.seed, stage, epochs)
        return Classifier(self.categories, weights, bias), done


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
    judged: tuple[Vectors, NDArray[np.int64]] | None,
    n_categories: int,
    seed: int,
    stage: Stage,
    epochs: int | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.float32], int]:
    """Train on standardised embeddings, then fold the standardisation into weights and bias.

    Args:
        learned: `(n, dim)` unit rows.
        learned_labels: `(n,)`, their columns.
        judged: the same of others, which stop it when their loss no longer falls; None trains for all epochs.
        n_categories: how many columns.
        seed: of the start and the order.
        stage: is told of each epoch.
        epochs: at most; None is as many as a head ever has.

    Returns:
        Weights `(dim, n_categories)`, bias `(n_categories,)`, and how many epochs it was trained for.
    """
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
    if judged is not None:
        callbacks.append(
            keras.callbacks.EarlyStopping(
                "val_loss", min_delta=_MIN_LOSS_DROP, patience=_PATIENCE_EPOCHS, restore_best_weights=True
            )
        )
    counts = np.bincount(learned_labels, minlength=n_categories)
    history = head.fit(
        _batches(learned, learned_labels, seed),
        epochs=_MAX_EPOCHS if epochs is None else epochs,
        class_weight={label: len(learned_labels) / n_categories / count for label, count in enumerate(counts)},
        validation_data=judged,
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
