"""Train the head: one Dense softmax on the frozen base's embeddings of originals and augmented copies.

1. Hold out a share of the items of each category.
2. Train in Keras on the rest, with class weights, until the held-out loss stops falling.
3. Fit the temperature on the held-out items (Guo et al., 2017, "On Calibration of Modern Neural Networks").
"""

from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from indexer.embed import EmbeddedCatalogue
from indexer.metrics import category_accuracy_at, expected_calibration_error
from indexer.report import Stage
from shared.classifier import Classifier, softmax
from shared.vectors import Vectors

# Chosen by held-out accuracy on the clothing photos, benchmarks/classifier.py; docs/decisions/0004-classifier.md.
_HELD_OUT_SHARE = 0.15
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


@dataclass(frozen=True)
class HeldOutFigures:
    """What the classifier reaches on items that it didn't learn; None where there were too few to hold any out.

    Attributes:
        items: how many items were held out.
        images: their images, which were judged.
        category_accuracy: on them.
        expected_calibration_error: on them, after the temperature was fitted on the same.
        temperature: the fitted one, 1 where nothing could be fitted.
        epochs: trained until.
    """

    items: int
    images: int
    category_accuracy: float | None
    expected_calibration_error: float | None
    temperature: float
    epochs: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def train_classifier(embedded: EmbeddedCatalogue, seed: int, stage: Stage) -> tuple[Classifier, HeldOutFigures]:
    """Train the head on a catalogue; the same catalogue and seed give the same head.

    Args:
        embedded: the catalogue's views.
        seed: of the held-out split, the start and the order.
        stage: is told of each epoch.
    """
    categories = tuple(sorted({item.category for item in embedded.items}))
    if len(categories) == 1:
        return _only_one(categories, embedded.views.shape[-1])
    column = {category: place for place, category in enumerate(categories)}
    item_labels = np.array([column[item.category] for item in embedded.items], dtype=np.int64)
    held_items = hold_out(item_labels, seed)
    held = held_items[embedded.image_items]
    labels = item_labels[embedded.image_items]

    learned = embedded.views[~held].reshape(-1, embedded.views.shape[-1])
    learned_labels = np.repeat(labels[~held], embedded.views.shape[1])
    judged, judged_labels = embedded.originals[held], labels[held]
    weights, bias, epochs = fit_head(learned, learned_labels, judged, judged_labels, len(categories), seed, stage)

    raw = Classifier(categories, weights, bias)
    temperature = fit_temperature(raw.logits(judged), judged_labels) if held.any() else 1.0
    classifier = Classifier(categories, weights, bias, temperature)
    return classifier, _figures(classifier, judged, judged_labels, int(held_items.sum()), epochs)


def hold_out(item_labels: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Choose a share of each category's items, never all of them.

    Args:
        item_labels: `(n_items,)`.
        seed: of the choice.

    Returns:
        `(n_items,)` bool.
    """
    random = np.random.default_rng(seed)
    held = np.zeros(len(item_labels), dtype=np.bool_)
    for label in np.unique(item_labels):
        members = random.permutation(np.flatnonzero(item_labels == label))
        held[members[: round(_HELD_OUT_SHARE * len(members))]] = True
    return held


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The temperature of the smallest negative log likelihood.

    Args:
        logits: `(n, n_categories)` of held-out images.
        labels: `(n,)` columns.
    """

    def loss(log_temperature: float) -> float:
        probabilities = softmax(logits / np.float32(np.exp(log_temperature)))
        return float(-np.log(probabilities[np.arange(len(labels)), labels] + 1e-12).mean())

    found = minimize_scalar(loss, bounds=(np.log(0.2), np.log(5.0)), method="bounded")
    return float(np.exp(found.x))


def fit_head(
    learned: Vectors,
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
    mean, std = learned.mean(axis=0), learned.std(axis=0)
    # What hardly varies in a small catalogue may well vary in a query, and would outweigh all the rest of it.
    scale = _INPUT_SCALE / (np.maximum(std, _MIN_STD_SHARE * std.mean()) + 1e-6)
    head = keras.Sequential(
        [keras.layers.Input((learned.shape[1],)), keras.layers.Dropout(_DROPOUT), keras.layers.Dense(n_categories)]
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
        (learned - mean) * scale,
        learned_labels,
        batch_size=_BATCH,
        epochs=_MAX_EPOCHS if len(judged) else _EPOCHS_WITHOUT_HELD_OUT,
        class_weight={label: len(learned_labels) / n_categories / count for label, count in enumerate(counts)},
        validation_data=((judged - mean) * scale, judged_labels) if len(judged) else None,
        callbacks=callbacks,
        verbose=0,
    )
    kernel, bias = head.layers[-1].get_weights()
    weights = (kernel * scale[:, np.newaxis]).astype(np.float32)
    return weights, (bias - mean @ weights).astype(np.float32), len(history.epoch)


def _figures(
    classifier: Classifier, judged: Vectors, labels: NDArray[np.int64], items: int, epochs: int
) -> HeldOutFigures:
    accuracy = error = None
    if len(judged):
        probabilities = classifier.probabilities(judged)
        accuracy = category_accuracy_at(1, probabilities, labels)
        error = expected_calibration_error(probabilities, labels)
    return HeldOutFigures(items, len(judged), accuracy, error, classifier.temperature, epochs)


def _only_one(categories: tuple[str, ...], dim: int) -> tuple[Classifier, HeldOutFigures]:
    """With a single category there is nothing to learn: every query belongs to it."""
    classifier = Classifier(categories, np.zeros((dim, 1), np.float32), np.zeros(1, np.float32))
    return classifier, HeldOutFigures(0, 0, None, None, 1.0, 0)
