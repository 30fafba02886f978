"""Training of the classifier head on the embeddings of originals and augmented copies.

1. Train a softmax head in Keras on the items that are not held out, with class weights, until the held-out loss stops
   falling. With very many categories this is skipped: the time of an epoch grows with their number.
2. Add the share of a linear discriminant analysis to weights and bias that fits the held-out items best.
3. Fit the temperature on the held-out items (Guo et al., 2017, "On Calibration of Modern Neural Networks").
4. Refit on all items with the same number of epochs, share and temperature, unless they are so many that only a sample
   is used anyway.
"""

from dataclasses import replace

import numpy as np

from indexer.classifier import softmax_head
from indexer.classifier.calibration import calibrated
from indexer.classifier.feedback_queries import LabelledQueries
from indexer.classifier.held_out import HeldOut
from indexer.classifier.lda import lda_head
from indexer.classifier.training_set import TrainingSet
from indexer.console.progress import Stage
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.snapshots.classifier_heads import Heads
from shared.model.classifier import Classifier

# Chosen by held-out accuracy on the clothing photos; docs/decisions/0004-classifier.md.
_EPOCHS_WITHOUT_HELD_OUT = 30
_LDA_SHARES = (0.0, 0.1, 0.2, 0.3)
_MAX_SOFTMAX_CATEGORIES = 1_000


def train_classifier(
    embedded: EmbeddedCatalogue, held_out: HeldOut, seed: int, stage: Stage, queries: LabelledQueries | None = None
) -> tuple[Heads, int]:
    """Train the heads of a catalogue; the same catalogue and seed give the same heads.

    Args:
        embedded: the catalogue's views.
        held_out: the items to validate on, before the refit on all items.
        seed: of the initial weights and the order.
        stage: advanced once per epoch.
        queries: additional training data from feedback; none of them is held out.

    Returns:
        The heads, and the number of epochs that they were trained for.
    """
    categories = embedded.categories
    if len(categories) == 1:  # nothing to learn: every query belongs to it
        zeros = np.zeros((embedded.views.shape[-1], 1), np.float32)
        return Heads.without_refit(Classifier(categories, zeros, zeros[0])), 0
    max_epochs = softmax_head.MAX_EPOCHS if len(categories) <= _MAX_SOFTMAX_CATEGORIES else 0
    all_items = np.ones_like(held_out.items)
    if not held_out.n_images:
        epochs = min(max_epochs, _EPOCHS_WITHOUT_HELD_OUT)
        share = 0.0 if epochs else _LDA_SHARES[-1]
        training = TrainingSet.of(embedded, all_items, seed, queries)
        return Heads.without_refit(_head(training, epochs, share, seed, stage)), epochs
    training = TrainingSet.of(embedded, ~held_out.items, seed, queries)
    validated, epochs, share = _best_head(training, held_out, max_epochs, seed, stage)
    if training.is_sample:  # another sample would teach no more
        return Heads.without_refit(validated), epochs
    del training  # or its views would be in memory beside those of all items
    refitted = _head(TrainingSet.of(embedded, all_items, seed, queries), epochs, share, seed, stage)
    return Heads(replace(validated, weights=refitted.weights, bias=refitted.bias), validated), epochs


def _best_head(
    training: TrainingSet, held_out: HeldOut, max_epochs: int, seed: int, stage: Stage
) -> tuple[Classifier, int, float]:
    """The calibrated head of the lowest held-out loss, its epochs, and the share of the discriminant analysis."""
    softmax, epochs = _softmax(training, max_epochs, seed, stage, held_out)
    shares = _LDA_SHARES if epochs else _LDA_SHARES[1:]
    lda = _lda(training)
    candidates = {share: calibrated(_mixed(softmax, lda, share), held_out) for share in shares}
    best = min(candidates, key=lambda share: held_out.log_loss(candidates[share]))
    return candidates[best], epochs, best


def _head(training: TrainingSet, epochs: int, share: float, seed: int, stage: Stage) -> Classifier:
    """A head of so many epochs, with such a share of the discriminant analysis."""
    softmax, _ = _softmax(training, epochs, seed, stage)
    return _mixed(softmax, _lda(training), share) if share else softmax


def _mixed(softmax: Classifier, lda: Classifier, share: float) -> Classifier:
    """The head whose logits are those of one plus a share of those of the other."""
    return Classifier(softmax.categories, softmax.weights + share * lda.weights, softmax.bias + share * lda.bias)


def _lda(training: TrainingSet) -> Classifier:
    return Classifier(training.categories, *lda_head(training.views, training.labels, len(training.categories)))


def _softmax(
    training: TrainingSet, max_epochs: int, seed: int, stage: Stage, held_out: HeldOut | None = None
) -> tuple[Classifier, int]:
    """A softmax head and its number of epochs; with `held_out`, training stops when the loss on it stops falling."""
    n = len(training.categories)
    if not max_epochs:
        zeros = np.zeros((training.views.shape[1], n), np.float32)
        return Classifier(training.categories, zeros, zeros[0]), 0
    validation = None if held_out is None else (held_out.originals, held_out.columns(training.categories))
    weights, bias, epochs = softmax_head.fit_head(
        training.views, training.labels, validation, n, seed, stage, max_epochs
    )
    return Classifier(training.categories, weights, bias), epochs
