"""The items that training doesn't see, by which classifiers are judged.

Which these are is decided by their ids: an item that was held out is held out again in the next build, whatever has
come or gone beside it, so that the published classifier and its successor can be judged by the same photos.
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
_MOST_JUDGED = 10_000
_MOST_PROBABILITIES = 20_000_000  # 80 MB, held a few times over


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
    """Held-out items, whose embeddings are read when they are first wanted.

    Attributes:
        embedded: the catalogue.
        items: `(n_items,)` bool over the catalogue: which are held out.
        images: `(n_images,)`, the places of the images that are judged; all are of held-out items.
    """

    embedded: EmbeddedCatalogue
    items: NDArray[np.bool_]
    images: NDArray[np.int64]

    @classmethod
    def of(cls, embedded: EmbeddedCatalogue, seed: int) -> "HeldOut":
        """Hold out items of a catalogue; of very many, a random part of their images is judged.

        Of a single category none is held out: it can't be missed, so there is nothing to judge.
        """
        items = held_out_items(embedded.items, seed)
        if len(embedded.categories) == 1:
            items[:] = False
        images = np.flatnonzero(items[embedded.image_items])
        most = min(_MOST_JUDGED, _MOST_PROBABILITIES // len(embedded.categories))
        if len(images) > most:
            images = np.sort(np.random.default_rng(seed).permutation(images)[:most])
        return cls(embedded, items, images)

    @property
    def n_items(self) -> int:
        """How many items are held out."""
        return int(self.items.sum())

    @property
    def n_images(self) -> int:
        """How many images are judged."""
        return len(self.images)

    @cached_property
    def originals(self) -> Vectors:
        """`(n_images, dim)` float32: the embeddings of the images."""
        return self.embedded.originals_of(self.images)

    def columns(self, categories: Sequence[str]) -> NDArray[np.int64]:
        """`(n_images,)`: the place of each image's category in `categories`, -1 where it is not among them."""
        return self.embedded.columns(self.images, categories)

    def own_probabilities(self, classifier: Classifier) -> NDArray[np.float32]:
        """`(n_images,)` float32: what it gives each image's own category; it must know them all."""
        probabilities = classifier.probabilities(self.originals)
        return probabilities[np.arange(self.n_images), self.columns(classifier.categories)]

    def log_loss(self, classifier: Classifier) -> float:
        """Mean negative log likelihood of the images' own categories; the classifier must know them all."""
        return float(-np.log(self.own_probabilities(classifier) + 1e-12).mean())

    def of_categories(self, categories: Sequence[str]) -> "HeldOut":
        """The same, but only the images of these categories are judged."""
        known = self.columns(categories) >= 0
        return self if known.all() else HeldOut(self.embedded, self.items, self.images[known])

    def category_accuracy(self, classifier: Classifier) -> float | None:
        """The share of the images whose category a classifier finds; None where there are none."""
        return self._judge(classifier, partial(category_accuracy_at, 1))

    def calibration_error(self, classifier: Classifier) -> float | None:
        """How far its confidence is off, on average; None where there are none."""
        return self._judge(classifier, expected_calibration_error)

    def _judge(
        self, classifier: Classifier, figure: Callable[[NDArray[np.float32], NDArray[np.int64]], float]
    ) -> float | None:
        if not self.n_images:
            return None
        return figure(classifier.probabilities(self.originals), self.columns(classifier.categories))
