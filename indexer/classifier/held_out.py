"""Held-out images: each is evaluated by a head that has learned neither it nor any image of its group.

All five folds are held out in turn where that is affordable: every image is evaluated once, by the head of its fold. In
a large catalogue, and on a fine-tuned backbone, which has learned the other folds, only fold 0 is.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from indexer.classifier.metrics import category_accuracy_at, expected_calibration_error, margin_of_mean
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.groups.catalogue_folds import CatalogueFolds
from indexer.groups.folds import N_FOLDS
from indexer.snapshots.classifier_heads import Heads, LinearHead
from shared.model.classifier import softmax
from shared.model.projection import Projection
from shared.vectors import Vectors

_MAX_IMAGES_OF_ALL_FOLDS = 20_000
_MAX_CATEGORIES_OF_ALL_FOLDS = 200
_MAX_IMAGES = 10_000
_MAX_PROBABILITIES = 20_000_000  # 80 MB, of which there are a few copies
_SEED = 0


@dataclass(frozen=True)
class HeldOut:
    """Images to evaluate heads on; folds and embeddings are computed and read on first use.

    Attributes:
        folds: of the catalogue.
        n_folds: images of the first so many are evaluated: `N_FOLDS`, 1, or 0.
        chosen: `(n_images,)` int64, the images if not all of these folds are; None for all, or a sample of very many.
        projections: for each fold the projection that has not learned it, which its images are searched by; empty if
            partitions hold base embeddings.
    """

    folds: CatalogueFolds
    n_folds: int
    chosen: NDArray[np.int64] | None = None
    projections: Sequence[Projection] = ()

    @classmethod
    def of(cls, folds: CatalogueFolds, is_tuned: bool = False) -> "HeldOut":
        """Hold out as many folds as is affordable.

        With a single category there are none: every prediction is right, so there is nothing to evaluate.

        Args:
            folds: of the catalogue.
            is_tuned: True if its backbone was fine-tuned, on all images but those of fold 0.
        """
        n_images, n_categories = len(folds.embedded.digests), len(folds.embedded.categories)
        if n_categories == 1:
            return cls(folds, 0)
        is_large = n_images > _MAX_IMAGES_OF_ALL_FOLDS or n_categories > _MAX_CATEGORIES_OF_ALL_FOLDS
        return cls(folds, 1 if is_large or is_tuned else N_FOLDS)

    @property
    def embedded(self) -> EmbeddedCatalogue:
        """The catalogue."""
        return self.folds.embedded

    @cached_property
    def images(self) -> NDArray[np.int64]:
        """`(n_images,)` int64: the indices of the images to evaluate on, ascending."""
        if self.chosen is not None or not self.n_folds:
            return np.zeros(0, np.int64) if self.chosen is None else self.chosen
        images = np.flatnonzero((self.folds.numbers >= 0) & (self.folds.numbers < self.n_folds))
        limit = min(_MAX_IMAGES, _MAX_PROBABILITIES // len(self.embedded.categories))
        if self.n_folds == N_FOLDS or len(images) <= limit:
            return images
        return np.sort(np.random.default_rng(_SEED).permutation(images)[:limit])

    @property
    def n_items(self) -> int:
        """The number of items that the images are of."""
        return len(np.unique(self.embedded.image_items[self.images]))

    @property
    def n_images(self) -> int:
        """The number of images to evaluate on."""
        return len(self.images)

    @cached_property
    def originals(self) -> Vectors:
        """`(n_images, dim)` float32: the base embeddings of the images."""
        return self.embedded.originals_of(self.images)

    @cached_property
    def queries(self) -> Vectors:
        """`(n_images, dim)` float32: the embeddings that the images are searched by."""
        if not self.projections:
            return self.originals
        queries = self.originals.copy()
        for fold, projection in enumerate(self.projections):
            own = self.fold_of == fold
            queries[own] = projection.apply(self.originals[own])
        return queries

    @cached_property
    def fold_of(self) -> NDArray[np.int64]:
        """`(n_images,)` int64: the fold of each image, which is the head that evaluates it."""
        return self.folds.numbers[self.images]

    @cached_property
    def group_of(self) -> NDArray[np.int64]:
        """`(n_images,)` int64: the group of each image."""
        return self.folds.groups.numbers[self.images]

    @property
    def keys(self) -> NDArray[np.uint64]:
        """`(n_images,)` uint64: as by `keys_of_images`."""
        return self.folds.keys[self.images]

    @property
    def n_groups(self) -> int:
        """The number of groups that the images are of."""
        return len(np.unique(self.group_of)) if self.n_images else 0

    def items_beside(self) -> list[frozenset[int]]:
        """For each image the numbers of the items that are held out together with it, its own included."""
        units = self.folds.units[self.images]
        beside = np.isin(self.folds.units, units)
        items: dict[int, set[int]] = {}
        pairs = zip(self.folds.units[beside].tolist(), self.embedded.image_items[beside].tolist(), strict=True)
        for unit, item in pairs:
            items.setdefault(unit, set()).add(item)
        frozen = {unit: frozenset(numbers) for unit, numbers in items.items()}
        return [frozen[unit] for unit in units.tolist()]

    def columns(self, categories: Sequence[str]) -> NDArray[np.int64]:
        """`(n_images,)` int64: the index of each image's category in `categories`, or -1."""
        return self.embedded.columns(self.images, categories)

    def logits(self, heads: Sequence[LinearHead]) -> NDArray[np.float32]:
        """Evaluate linear heads, each on the images of its fold.

        Args:
            heads: weights `(dim, n_categories)` and bias `(n_categories,)` of the head of each fold.

        Returns:
            `(n_images, n_categories)` float32, before any temperature.
        """
        logits = np.empty((self.n_images, len(heads[0][1])), dtype=np.float32)
        for fold in np.unique(self.fold_of):
            own, (weights, bias) = self.fold_of == fold, heads[fold]
            logits[own] = self.originals[own] @ weights + bias
        return logits

    def probabilities(self, heads: Heads) -> NDArray[np.float32]:
        """`(n_images, n_categories)` float32: calibrated, of each image by the head of its fold."""
        return softmax(self.logits(heads.linear()) / np.float32(heads.served.temperature))

    def log_loss(self, heads: Heads) -> float:
        """Mean negative log likelihood of the images' true categories; the heads must have them all."""
        own = self.probabilities(heads)[np.arange(self.n_images), self.columns(heads.served.categories)]
        return float(-np.log(own + 1e-12).mean())

    def for_heads(self, heads: Heads) -> "HeldOut":
        """Keep only the images of folds that there are heads of."""
        return self._of_folds(min(self.n_folds, len(heads.of_folds)))

    def _of_folds(self, n_folds: int) -> "HeldOut":
        if n_folds >= self.n_folds:
            return self
        if self.chosen is None:
            return replace(self, n_folds=n_folds)
        return replace(self, n_folds=n_folds, chosen=self.images[self.fold_of < n_folds])

    def of_categories(self, categories: Sequence[str]) -> "HeldOut":
        """Keep only the images of these categories."""
        return self.keep(self.columns(categories) >= 0)

    def keep(self, kept: NDArray[np.bool_]) -> "HeldOut":
        """Keep only the images where `(n_images,)` is True."""
        return self if kept.all() else replace(self, chosen=self.images[kept])

    def category_accuracy(self, heads: Heads) -> float | None:
        """The share of the images that are classified correctly; None if there are no images."""
        return self._figure(heads, partial(category_accuracy_at, 1))

    def accuracy_margin(self, heads: Heads) -> float | None:
        """The reach of the 95 % interval around `category_accuracy`; None with fewer than two groups."""

        def margin(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> float | None:
            return margin_of_mean((probabilities.argmax(axis=1) == labels).astype(np.float64), self.group_of)

        return self._figure(heads, margin)

    def calibration_error(self, heads: Heads) -> float | None:
        """The expected calibration error; None if there are no images."""
        return self._figure(heads, expected_calibration_error)

    def _figure(
        self, heads: Heads, figure: Callable[[NDArray[np.float32], NDArray[np.int64]], float | None]
    ) -> float | None:
        if not self.n_images:
            return None
        return figure(self.probabilities(heads), self.columns(heads.served.categories))
