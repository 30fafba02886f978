"""Photos whose categories are known, and what a snapshot says of them: the raw material of an evaluation.

1. The photos: a folder of queries, or the items that the build held out.
2. Judge them: class probabilities of each, and the nearest items in every partition.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexer.classifier.held_out import HeldOut
from indexer.console.progress import Stage
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from shared.index.category_search import Hit, best_hits
from shared.model.classifier import ranking
from shared.snapshot.snapshot import Snapshot
from shared.vectors import Vectors

TOP_K = 10
_SEED = 0
_LEAST_SEARCHED = 200
_MOST_SEARCHED = 2000
_MOST_COMPARED = 200_000_000  # photos times rows: some ten seconds
_MOST_PARTITIONS_SEARCHED = 200_000  # photos times partitions: each keeps ten hits


@dataclass(frozen=True)
class LabelledPhotos:
    """Photos to judge a snapshot by.

    Attributes:
        paths: the files.
        truth: each one's category.
        embeddings: `(n, dim)` float32, unit rows.
        items: `(n,)` int64, the number of the snapshot's item that each shows, which it must not find; -1 for none.
        skipped: further photos that could not be read.
    """

    paths: tuple[Path, ...]
    truth: tuple[str, ...]
    embeddings: Vectors
    items: NDArray[np.int64]
    skipped: int

    @classmethod
    def of_queries(cls, embedded: EmbeddedCatalogue, image_root: Path) -> "LabelledPhotos":
        """Photos that are not in the snapshot."""
        every = np.arange(len(embedded.digests))
        nothing = np.full(len(every), -1)
        return cls(
            _paths(embedded, every, image_root),
            _truth(embedded, every),
            embedded.originals,
            nothing,
            skipped=len(embedded.problems),
        )

    @classmethod
    def of_held_out(cls, held_out: HeldOut, image_root: Path) -> "LabelledPhotos":
        """The catalogue's own images that the classifier has not learned; the snapshot's items are the catalogue's."""
        embedded, images = held_out.embedded, held_out.images
        items = embedded.image_items[images]
        return cls(_paths(embedded, images, image_root), _truth(embedded, images), held_out.originals, items, 0)

    def __len__(self) -> int:
        """How many."""
        return len(self.truth)


def _truth(embedded: EmbeddedCatalogue, images: NDArray[np.int64]) -> tuple[str, ...]:
    return tuple(embedded.items[number].category for number in embedded.image_items[images])


def _paths(embedded: EmbeddedCatalogue, images: NDArray[np.int64], image_root: Path) -> tuple[Path, ...]:
    numbers = embedded.image_items[images]
    firsts = np.searchsorted(embedded.image_items, numbers)  # images of an item stand together, in order
    places = zip(numbers.tolist(), (images - firsts).tolist(), strict=True)
    return tuple(image_root / embedded.items[number].images[position] for number, position in places)


@dataclass(frozen=True)
class Predictions:
    """What a snapshot says of labelled photos.

    Attributes:
        snapshot: open.
        photos: that judge it.
        labels: `(n,)` int64, the column of each photo's category, -1 where the snapshot does not have it.
        probabilities: `(n, n_categories)` float32.
        searched: `(n_searched,)` int64, the photos that were searched by: all, or a random part of very many.
        found: for every category, for each of `searched`, the nearest `TOP_K` items of that partition.
    """

    snapshot: Snapshot
    photos: LabelledPhotos
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    searched: NDArray[np.int64]
    found: Sequence[Sequence[list[Hit]]]

    @property
    def categories(self) -> tuple[str, ...]:
        """Of the snapshot, in the order of the columns."""
        return self.snapshot.classifier.categories

    @cached_property
    def ranked(self) -> NDArray[np.intp]:
        """`(n, n_categories)`: the columns, most probable first."""
        return ranking(self.probabilities)

    @cached_property
    def confidence(self) -> NDArray[np.float32]:
        """`(n,)` float32: the probability of each predicted category."""
        highest: NDArray[np.float32] = self.probabilities.max(axis=1)
        return highest

    @cached_property
    def right(self) -> NDArray[np.bool_]:
        """`(n,)` bool: whether the predicted category is the true one."""
        right: NDArray[np.bool_] = self.ranked[:, 0] == self.labels
        return right

    def predicted(self, photo: int) -> str:
        """The category that a photo is taken for."""
        return self.categories[int(self.ranked[photo, 0])]

    def hits(self, place: int, probe: int = 1) -> list[Hit]:
        """The first `TOP_K` hits of a search by `searched[place]` over its `probe` most probable categories."""
        columns = self.ranked[self.searched[place], :probe]
        return best_hits(hit for column in columns for hit in self.found[column][place])[:TOP_K]

    @cached_property
    def item_categories(self) -> dict[int, str]:
        """The category of every item, by number."""
        return {indexed.number: indexed.item.category for indexed in self.snapshot.items.without_metadata()}

    def hit_categories(self, probe: int) -> list[list[str]]:
        """For each of `searched`, the categories of its hits over so many categories."""
        return [
            [self.item_categories[hit.item_number] for hit in self.hits(place, probe)]
            for place in range(len(self.searched))
        ]


def predict(snapshot: Snapshot, photos: LabelledPhotos, stage: Stage, most_searched: int | None = None) -> Predictions:
    """Classify photos, and search every partition by them once.

    Args:
        snapshot: open.
        photos: one at least.
        stage: is told of each partition.
        most_searched: by how many photos to search at most; None for all.
    """
    categories = snapshot.classifier.categories
    column = {category: place for place, category in enumerate(categories)}
    labels = np.array([column.get(category, -1) for category in photos.truth], dtype=np.int64)
    probabilities = snapshot.classifier.probabilities(photos.embeddings)
    searched = np.arange(len(photos))
    if most_searched is not None and len(photos) > most_searched:
        searched = np.sort(np.random.default_rng(_SEED).permutation(len(photos))[:most_searched])
    found = []
    for category in categories:
        found.append(_search(snapshot, category, photos, searched))
        stage.advance()
    return Predictions(snapshot, photos, labels, probabilities, searched, found)


def affordable_searches(rows: int, categories: int) -> int:
    """By how many photos a snapshot of so many rows and categories can be searched in some ten seconds."""
    affordable = min(_MOST_COMPARED // max(1, rows), _MOST_PARTITIONS_SEARCHED // max(1, categories))
    return min(_MOST_SEARCHED, max(_LEAST_SEARCHED, affordable))


def _search(snapshot: Snapshot, category: str, photos: LabelledPhotos, searched: NDArray[np.int64]) -> list[list[Hit]]:
    """The nearest items of one partition, without the item that a photo shows itself."""
    own = photos.items[searched].tolist()
    top_k = TOP_K if max(own) < 0 else TOP_K + 1
    found = snapshot.partition(category).search(photos.embeddings[searched], top_k)
    return [[hit for hit in hits if hit.item_number != number][:TOP_K] for hits, number in zip(found, own, strict=True)]
