"""Training of a backbone's tail together with its heads, on the trunk's features."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.sparse import csr_array

from indexer.backbone.fine_tuning import word_head
from indexer.backbone.fine_tuning.checkpoint import TuningCheckpoint
from indexer.backbone.fine_tuning.trunk import Features, foldable_tail
from indexer.backbone.fine_tuning.word_head import WordHead
from indexer.classifier.softmax_head import fit_head
from indexer.console.progress import SilentReporter, Stage
from shared.vectors import unit_rows

_BATCH = 64
_LEARNING_RATE = 3e-4
_WARM_UP_SHARE = 0.05
_WEIGHT_DECAY = 1e-2
_DROPOUT = 0.3
_LABEL_SMOOTHING = 0.1
_MIXUP = 0.2  # of Zhang et al., 2018, "mixup: Beyond Empirical Risk Minimization"; on the trunk's features
_EMBEDDING_BATCH = 128
RECIPE = (_BATCH, _LEARNING_RATE, _WARM_UP_SHARE, _WEIGHT_DECAY, _DROPOUT, _LABEL_SMOOTHING, _MIXUP, word_head.RECIPE)
"""Names everything that training depends on besides the features, the labels, the number of epochs and the seed."""


@dataclass(frozen=True)
class TuningRun:
    """The data and the schedule of one training.

    Attributes:
        features: of the training and the held-out pictures.
        labels: `(n_learned + n_held_out,)` int64: their categories.
        epochs: the number of times that each training picture is shown, each time another view of it.
        seed: of the order, the initial weights and the dropout.
        texts: `(n_learned, n_features)`: the features of the words of each training picture; None without words.
    """

    features: Features
    labels: NDArray[np.int64]
    epochs: int
    seed: int
    texts: csr_array | None = None


class TailTrainer:
    """The tail and a linear head on its unit embeddings."""

    def __init__(self, tail: keras.Model, run: TuningRun) -> None:
        """Fit the head to the tail as it is; `train` then changes the variables of both."""
        self._tail, self._run = foldable_tail(tail), run
        self._embed_batch = tf.function(self._embed, reduce_retracing=True)
        self._step_batch = tf.function(self._step, reduce_retracing=True)
        features = run.features
        embeddings = self._embeddings(np.concatenate([features.learned[:, 0], features.held_out]))
        # The head is trained on unit embeddings scaled to the mean length of the tail's output, so that one learning
        # rate suits both.
        self._length = float(np.linalg.norm(embeddings, axis=1).mean())
        weights, bias = self._fitted_head(embeddings)
        self._weights = keras.Variable(weights / self._length, name="head_weights")
        self._bias = keras.Variable(bias, name="head_bias")
        self._words = None
        if run.texts is not None:
            self._words = WordHead(unit_rows(embeddings[: len(features.learned)]), run.texts, self._length)
        self._variables = [*_tuned_variables(tail), self._weights, self._bias]
        self._variables += [] if self._words is None else self._words.variables
        self._optimizer = self._make_optimizer()

    def correct(self) -> NDArray[np.bool_]:
        """Return `(n_held_out,)` bool: True for the held-out pictures that are classified correctly."""
        features, labels = self._run.features, self._run.labels
        weights, bias = self.head()
        logits = unit_rows(self._embeddings(features.held_out)) @ weights + bias
        is_correct: NDArray[np.bool_] = logits.argmax(axis=1) == labels[len(features.learned) :]
        return is_correct

    def head(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return the head for unit embeddings: weights `(dim, n_categories)` and bias `(n_categories,)` float32."""
        return (self._weights.numpy() * self._length).astype(np.float32), self._bias.numpy()

    def train(self, checkpoint: TuningCheckpoint, stage: Stage, say: Callable[[str], None]) -> None:
        """Train for all epochs, resuming from the checkpoint if there is one.

        Args:
            checkpoint: written after each epoch.
            stage: advanced once per view shown.
            say: receives a line per epoch with the time left, for logs without a progress bar.
        """
        state = [*self._variables, *self._optimizer.variables]
        done, values = checkpoint.load([tuple(variable.shape) for variable in state])
        for variable, value in zip(state, values, strict=False):
            variable.assign(value)
        epochs, started = self._run.epochs, time.monotonic()
        for epoch in range(epochs):
            if epoch < done:
                _advance(stage, len(self._run.features.learned))
            else:
                self._train_epoch(epoch, stage)
                checkpoint.save(epoch + 1, [variable.numpy() for variable in state])
                left_s = (time.monotonic() - started) / (epoch + 1 - done) * (epochs - epoch - 1)
                say(f"fine-tuning: epoch {epoch + 1} of {epochs}, about {math.ceil(left_s / 60)} min left")

    def _train_epoch(self, epoch: int, stage: Stage) -> None:
        features, seed = self._run.features, self._run.seed
        n_learned, n_views = features.learned.shape
        first_view = np.random.default_rng(seed).integers(n_views, size=(n_learned,))
        order = np.random.default_rng([seed, epoch]).permutation(n_learned)
        for step, batch in enumerate(np.array_split(order, self._steps_per_epoch())):
            views = features.rows[features.learned[batch, (first_view[batch] + epoch) % n_views]]
            targets = tf.constant(self._targets(batch))
            words = None if self._words is None else tf.constant(self._words.targets(batch))
            self._step_batch(tf.constant(views), targets, words, *self._random_inputs(epoch, step, len(batch)))
            _advance(stage, len(batch))

    def _steps_per_epoch(self) -> int:
        return max(1, round(len(self._run.features.learned) / _BATCH))

    def _targets(self, batch: NDArray[np.int64]) -> NDArray[np.float32]:
        """`(n, n_categories)`: smoothed labels."""
        n_categories = self._bias.shape[0]
        one_hot = np.eye(n_categories, dtype=np.float32)[self._run.labels[batch]]
        return one_hot * np.float32(1 - _LABEL_SMOOTHING) + np.float32(_LABEL_SMOOTHING / n_categories)

    def _random_inputs(self, epoch: int, step: int, n: int) -> tuple[Any, Any, Any]:
        """The seed of a step's dropout, the share of each view in its mixup, and the partner of each view."""
        random = np.random.default_rng([self._run.seed, epoch, step])
        seed = tf.constant(random.integers(2**31, size=2), tf.int32)
        return seed, tf.constant(random.beta(_MIXUP, _MIXUP), tf.float32), tf.constant(random.permutation(n))

    def _step(self, features: Any, targets: Any, words: Any, dropout_seed: Any, share: Any, partners: Any) -> None:
        features = _mixed(tf.cast(features, tf.float32), share, partners)
        targets = _mixed(targets, share, partners)
        with tf.GradientTape() as tape:
            unit = tf.nn.l2_normalize(self._embed(features), axis=1)
            kept = tf.nn.experimental.stateless_dropout(unit * self._length, _DROPOUT, seed=dropout_seed)
            logits = kept @ self._weights + self._bias
            loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(targets, logits))
            if self._words is not None:
                loss += self._words.loss(kept, _mixed(words, share, partners))
        gradients = tape.gradient(loss, [variable.value for variable in self._variables])
        self._optimizer.apply(gradients, self._variables)

    def _embed(self, features: Any) -> Any:
        return self._tail(tf.cast(features, tf.float32), training=False)

    def _embeddings(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """`(n,)` rows of the features → `(n, dim)` float32, the tail's output."""
        parts = [
            self._embed_batch(tf.constant(self._run.features.rows[rows[start : start + _EMBEDDING_BATCH]])).numpy()
            for start in range(0, len(rows), _EMBEDDING_BATCH)
        ]
        return np.concatenate(parts)

    def _fitted_head(self, embeddings: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        unit, n, labels = unit_rows(embeddings), len(self._run.features.learned), self._run.labels
        with SilentReporter().stage("head") as silent:
            weights, bias, _ = fit_head(
                unit[:n], labels[:n], (unit[n:], labels[n:]), int(labels.max()) + 1, self._run.seed, silent
            )
        return weights, bias

    def _make_optimizer(self) -> keras.optimizers.Optimizer:
        steps = self._run.epochs * self._steps_per_epoch()
        warm_up = max(1, round(_WARM_UP_SHARE * steps))
        # Not from 0, which would waste the first of a small catalogue's few steps.
        rate = keras.optimizers.schedules.CosineDecay(
            _LEARNING_RATE / warm_up, max(1, steps - warm_up), warmup_target=_LEARNING_RATE, warmup_steps=warm_up
        )
        optimizer = keras.optimizers.AdamW(rate, weight_decay=_WEIGHT_DECAY)
        optimizer.exclude_from_weight_decay([variable for variable in self._variables if len(variable.shape) == 1])
        optimizer.build(self._variables)
        return optimizer


def _mixed(rows: Any, share: Any, partners: Any) -> Any:
    return share * rows + (1 - share) * tf.gather(rows, partners)


def _advance(stage: Stage, steps: int) -> None:
    for _ in range(steps):
        stage.advance()


def _tuned_variables(tail: keras.Model) -> Sequence[keras.Variable]:
    """All variables except those of normalisations, for whose statistics the pictures are too few."""
    return [
        variable
        for layer in tail.layers
        if not isinstance(layer, keras.layers.BatchNormalization)
        for variable in layer.trainable_variables
    ]
