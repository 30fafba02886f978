"""Train the head: one Dense softmax on the base's embeddings of originals and augmented copies.

1. Train in Keras on what is not held out, with class weights, until the held-out loss stops falling. Beyond very many
   categories this is left out: the more, the longer an epoch takes.
2. Add as much of a discriminant analysis to weights and bias as the held-out items prefer.
3. Fit the temperature on the held-out items (Guo et al., 2017, "On Calibration of Modern Neural Networks").
4. Learn all items by what was found best, unless they are too many to learn all: as many epochs, as much of the
   analysis, the same temperature.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from indexer.classifier import softmax_head
from indexer.classifier.calibration import calibrated
from indexer.classifier.feedback_queries import LabelledQueries
from indexer.classifier.held_out import HeldOut
from indexer.classifier.lda import lda_head
from indexer.console.progress import Stage
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.snapshots.classifier_heads import Heads
from shared.model.classifier import Classifier

# Chosen by held-out accuracy on the clothing photos; docs/decisions/0004-classifier.md.
_EPOCHS_WITHOUT_HELD_OUT = 30
_MAX_LEARNED_VIEWS = 50_000  # 0.13 GB: memory must not grow with the catalogue
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
    most_epochs = softmax_head.MAX_EPOCHS if len(categories) <= _MOST_TRAINED_CATEGORIES else 0
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
        return Classifier(self.categories, *lda_head(self.views, self.labels, len(self.categories)))

    def softmax(self, epochs: int, stage: Stage, held_out: HeldOut | None = None) -> tuple[Classifier, int]:
        """A softmax and its epochs; of none, one that says nothing.

        Args:
            epochs: at most.
            stage: is told of each.
            held_out: stops it as soon as it gets no better; else it is trained for all of them.
        """
        n = len(self.categories)
        if not epochs:
            zeros = np.zeros((self.views.shape[1], n), np.float32)
            return Classifier(self.categories, zeros, zeros[0]), 0
        held = None if held_out is None else (held_out.originals, held_out.columns(self.categories))
        weights, bias, done = softmax_head.fit_head(self.views, self.labels, held, n, self.seed, stage, epochs)
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
