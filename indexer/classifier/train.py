"""Training of the classifier's heads on the embeddings of originals and augmented copies.

1. Train softmax heads in Keras, with class weights: one for each fold, without its images, one on everything, and one
   without random items. They stop when the mean loss of the images by the heads of their folds stops falling. With very
   many categories this is skipped: the time of an epoch grows with their number.
2. Add the share of a linear discriminant analysis to weights and bias that fits the held-out images best.
3. Calibrate on the held-out images.
4. Measure on the random items what a random split would have claimed.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from indexer.classifier import softmax_head
from indexer.classifier.calibration import Calibration
from indexer.classifier.feedback_queries import LabelledQueries
from indexer.classifier.held_out import HeldOut
from indexer.classifier.lda import lda_heads
from indexer.classifier.softmax_head import FittedHeads, Validation
from indexer.classifier.training_set import TrainingSet
from indexer.console.progress import Stage
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.snapshots.classifier_heads import Heads
from shared.model.classifier import Classifier

# Chosen by held-out accuracy; docs/decisions/0004-classifier.md and docs/decisions/0012-lda.md.
_EPOCHS_WITHOUT_HELD_OUT = 30
_LDA_SHARES = (0.1, 0.2, 0.3)
_MAX_SOFTMAX_CATEGORIES = 1_000


class TrainedHeads(NamedTuple):
    """The result of a training.

    Attributes:
        heads: calibrated.
        epochs: the number of epochs that they were trained for.
        random_split_accuracy: of a head on random items that it has not learned; None if nothing is held out.
    """

    heads: Heads
    epochs: int
    random_split_accuracy: float | None = None


def train_classifier(
    held_out: HeldOut, seed: int, stage: Stage, queries: LabelledQueries | None = None, is_tuned: bool = False
) -> TrainedHeads:
    """Train the heads of a catalogue; the same catalogue, folds and seed give the same heads.

    Args:
        held_out: the catalogue's views, and the images to validate on.
        seed: of the initial weights, the order and the random items.
        stage: advanced once per epoch.
        queries: additional training data from feedback; none of them is held out.
        is_tuned: True if the backbone was tuned on the catalogue; then the discriminant analysis may have no share.
    """
    embedded = held_out.embedded
    categories = embedded.categories
    if len(categories) == 1:  # nothing to learn: every query belongs to it
        zeros = np.zeros((embedded.views.shape[-1], 1), np.float32)
        return TrainedHeads(Heads.single(Classifier(categories, zeros, zeros[0])), 0)
    training = TrainingSet.of(held_out, seed, queries)
    softmax = _softmax(training, held_out, seed, stage)
    lda = FittedHeads(*lda_heads(training.views, training.labels, training.left_out, len(categories)), 0)
    shares = (0.0, *_LDA_SHARES) if is_tuned and softmax is not None else _LDA_SHARES
    share, calibration = _best_share(softmax, lda, held_out, categories, shares)
    weights, bias = lda.weights, lda.bias
    weights *= share
    bias *= share
    if softmax is not None:
        weights += softmax.weights
        bias += softmax.bias
    served = calibration.of(Classifier(categories, weights[training.n_fold_heads], bias[training.n_fold_heads]))
    of_folds = slice(training.n_fold_heads)
    heads = Heads.of_arrays(served, weights[of_folds], bias[of_folds]) if of_folds.stop else Heads.single(served)
    claimed = _accuracy(embedded, training.random_images, weights[-1], bias[-1])
    return TrainedHeads(heads, 0 if softmax is None else softmax.epochs, claimed)


def _softmax(training: TrainingSet, held_out: HeldOut, seed: int, stage: Stage) -> FittedHeads | None:
    """The softmax heads; None with too many categories."""
    if len(training.categories) > _MAX_SOFTMAX_CATEGORIES:
        return None
    validation = None
    if held_out.n_images:
        heads = held_out.fold_of if training.n_fold_heads else np.zeros_like(held_out.fold_of)
        validation = Validation(held_out.originals, held_out.columns(training.categories), heads)
    return softmax_head.fit_heads(
        training.views,
        training.labels,
        training.left_out,
        validation,
        len(training.categories),
        seed,
        stage,
        None if held_out.n_images else _EPOCHS_WITHOUT_HELD_OUT,
    )


def _best_share(
    softmax: FittedHeads | None,
    lda: FittedHeads,
    held_out: HeldOut,
    categories: tuple[str, ...],
    shares: Sequence[float],
) -> tuple[float, Calibration]:
    """The share of the discriminant analysis with the lowest held-out loss, and the calibration with it."""
    if not held_out.n_images:
        return (shares[-1] if softmax is None else shares[0]), Calibration()
    discriminants = held_out.logits(lda.linear())
    logits = np.float32(0) if softmax is None else held_out.logits(softmax.linear())
    candidates = {
        share: Calibration.fitted(logits + np.float32(share) * discriminants, held_out, categories) for share in shares
    }
    best = min(candidates, key=lambda share: candidates[share].log_loss)
    return best, candidates[best]


def _accuracy(
    embedded: EmbeddedCatalogue, images: NDArray[np.int64], weights: NDArray[np.float32], bias: NDArray[np.float32]
) -> float | None:
    """The share of the images that a head classifies correctly; None if there are none."""
    if not len(images):
        return None
    predicted = (embedded.originals_of(images) @ weights + bias).argmax(axis=1)
    return float((predicted == embedded.columns(images, embedded.categories)).mean())
