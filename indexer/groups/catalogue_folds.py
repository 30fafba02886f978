"""The groups and folds of a catalogue, computed when they are first needed: a build without changes needs neither."""

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.groups.catalogue_images import CatalogueImages
from indexer.groups.folds import NO_FOLD, Folds, assign_folds
from indexer.groups.linking import ImageGroups, link_images
from indexer.groups.nearest_images import Neighbours, nearest_images
from indexer.snapshots.stored_folds import StoredFolds, keys_of_images


class CatalogueFolds:
    """Near images, groups and folds of one catalogue; all of them follow from its base embeddings."""

    def __init__(
        self, embedded: EmbeddedCatalogue, known: StoredFolds | None, seed: int, scratch: Path | None = None
    ) -> None:
        """Prepare; nothing is read or computed yet.

        Args:
            embedded: the catalogue.
            known: the folds of an earlier build; None if there are none.
            seed: of the order of new groups.
            scratch: the directory for a temporary copy of the embeddings; None for the system's.
        """
        self.embedded = embedded
        self._known = known
        self._seed = seed
        self._scratch = scratch

    @cached_property
    def neighbours(self) -> Neighbours:
        """The nearest images of every image."""
        return nearest_images(CatalogueImages.of(self.embedded, self._scratch))

    @cached_property
    def columns(self) -> NDArray[np.int64]:
        """`(n_images,)` int64: the index of each image's category among the catalogue's."""
        return self.embedded.columns(np.arange(len(self.embedded.digests)), self.embedded.categories)

    @cached_property
    def groups(self) -> ImageGroups:
        """The groups of all images."""
        return link_images(self.neighbours, self.embedded.image_items, self.columns)

    @property
    def numbers(self) -> NDArray[np.int64]:
        """`(n_images,)` int64: the fold of each image, or `NO_FOLD`; so all images of a single category."""
        return self._folds.numbers

    @property
    def units(self) -> NDArray[np.int64]:
        """`(n_images,)` int64, the same for images that stay together: of one group, or item where it was divided."""
        return self._folds.units

    @property
    def divided(self) -> tuple[str, ...]:
        """The categories that are one group, or nearly so, which was divided by items."""
        return tuple(self.embedded.categories[column] for column in self._folds.divided)

    def stored(self) -> StoredFolds:
        """The folds as the next build reads them."""
        return StoredFolds.of(self.keys, self.numbers)

    @cached_property
    def keys(self) -> NDArray[np.uint64]:
        """`(n_images,)` uint64: as by `keys_of_images`."""
        return keys_of_images(self.embedded.labelled_digests())

    @cached_property
    def _folds(self) -> Folds:
        n_images = len(self.embedded.digests)
        if len(self.embedded.categories) == 1:  # every prediction is right: there is nothing to evaluate
            return Folds(np.full(n_images, NO_FOLD), np.arange(n_images), ())
        known = np.full(n_images, NO_FOLD) if self._known is None else self._known.folds_of(self.keys)
        ids = [item.item_id for item in self.embedded.items]
        return assign_folds(self.groups, self.embedded.image_items, ids, self.columns, known, self._seed)
