"""Held-out items, which classifiers are not trained on but evaluated on.

Their ids decide which items are held out: an item that was held out is held out again in the next build, whichever
others were added or removed, so that the published classifier and its successor can be evaluated on the same photos.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from indexer.classifier.metrics import category_accuracy_at, expected_calibration_error
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from shared.catalogue.items import Item
from shared.model.classifier import Classifier
from shared.vectors import Vectors

SHARE = 0.15
_MAX_IMAGES = 10_000
_MAX_PROBABILITIES = 20_000_000  # 80 MB, of which there are a few copies


def held_out_items(items: Sequence[Item], seed: int) -> NDArray[np.bool_]:
    """Choose a share of each category's items, never all of them.

    Args:
        items: of the catalogue.
        seed: of the choice.

    Returns:
        `(n_items,)` bool.
    """
    held = np.zeros(len(items), dtype=np.bool_)
    members: dict[str, list[int]] = {}
    for number, item in enumerate(items):
        members.setdefault(item.category, []).append(number)
    for numbers in members.values():
        ranked = sorted(numbers, key=lambda number: _rank(items[number].item_id, seed))
        held[ranked[: round(SHARE * len(ranked))]] = True
    return held


def _rank(item_id: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} {item_id}".encode()).digest()


@dataclass(frozen=True)
class HeldOut:
    """Held-out items, whose embeddings are read on first use.

    Attributes:
        embedded: the catalogue.
        items: `(n_items,)` bool: True for the held-out items of the catalogue.
        images: `(n_images,)` int64, the indices of the images to evaluate on; all are of held-out items.
    """

    embedded: EmbeddedCatalogue
    items: NDArray[np.bool_]
    images: NDArray[np.int64]

    @classmethod
    def of(cls, embedded: EmbeddedCatalogue, seed: int) -> "HeldOut":
        """Hold out items of a catalogue; of very many, use a random sample of their images.

        With a single category none is held out: every prediction is right, so there is nothing to evaluate.
        """
        items = held_out_items(embedded.items, seed)
        if len(embedded.categories) == 1:
            items[:] = False
        images = np.flatnonzero(items[embedded.image_items])
        limit = min(_MAX_IMAGES, _MAX_PROBABILITIES // len(embedded.categories))
        if len(images) > limit:
            images = np.sort(np.random.default_rng(seed).permutation(images)[:limit])
        return cls(embedded, items, images)

    @property
    def n_items(self) -> int:
        """The number of held-out items."""
        return int(self.items.sum())

    @property
    def n_images(self) -> int:
        """The number of images to evaluate on."""
        return len(self.images)

    @cached_property
    def originals(self) -> Vectors:
        """`(n_images, dim)` float32: the embeddings of the images."""
        return self.embedded.originals_of(self.images)

    def columns(self, categories: Sequence[str]) -> NDArray[np.int64]:
        """`(n_images,)` int64: the index of each image's category in `categories`, or -1."""
        return self.embedded.columns(self.images, categories)

    def own_probabilities(self, classifier: Classifier) -> NDArray[np.float32]:
        """`(n_images,)` float32: the probability of each image's true category; the classifier must have them all."""
        probabilities = classifier.probabilities(self.originals)
        return probabilities[np.arange(self.n_images), self.columns(classifier.categories)]

    def log_loss(self, classifier: Classifier) -> float:
        """Mean negative log likelihood of the images' true categories; the classifier must have them all."""
        return float(-np.log(self.own_probabilities(classifier) + 1e-12).mean())

    def of_categories(self, categories: Sequence[str]) -> "HeldOut":
        """Keep only the images of these categories."""
        kept = self.columns(categories) >= 0
        return self if kept.all() else HeldOut(self.embedded, self.items, self.images[kept])

    def category_accuracy(self, classifier: Classifier) -> float | None:
        """The share of the images that are classified correctly; None if there are no images."""
        return self._figure(classifier, partial(category_accuracy_at, 1))

    def calibration_error(self, classifier: Classifier) -> float | None:
        """The expected calibration error; None if there are no images."""
        return self._figure(classifier, expected_calibration_error)

    def _figure(
        self, classifier: Classifier, figure: Callable[[NDArray[np.float32], NDArray[np.int64]], float]
    ) -> float | None:
        if not self.n_images:
            return None
        return figure(classifier.probabilities(self.originals), self.columns(classifier.categories))
