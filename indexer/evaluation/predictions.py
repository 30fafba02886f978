"""The raw material of an evaluation: class probabilities of labelled photos, and searches by them.

1. Classify all photos.
2. Find the nearest items of every partition for all photos at once, which takes less time than photo by photo.
3. Search by each photo, with several options; `Searcher` reuses the nearest items.

Held-out photos are classified and searched by with the head of their fold, in the place of the snapshot's own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from indexer.classifier.metrics import probe_auto
from indexer.console.progress import Stage
from indexer.evaluation.labelled_photos import LabelledPhotos
from shared.index.category_search import Hit
from shared.model.classifier import PROBE_COVERAGE, ranking
from shared.retrieval.category_ranking import CategoryRanking
from shared.retrieval.item_search import nearest_items
from shared.retrieval.results import SearchResult
from shared.retrieval.search_options import SearchOptions
from shared.retrieval.searcher import Searcher
from shared.snapshot.snapshot import Snapshot

Probe: TypeAlias = int | Literal["auto"]

TOP_K = 10
_SEED = 0
_MIN_SEARCHED = 200
_MAX_SEARCHED = 2000
_MAX_COMPARED = 200_000_000  # photos times rows: some ten seconds
_MAX_PARTITIONS_SEARCHED = 200_000  # photos times partitions: each keeps ten hits


@dataclass(frozen=True)
class Predictions:
    """Class probabilities of labelled photos, and searches by them.

    Attributes:
        snapshot: open.
        photos: those that it is evaluated on.
        labels: `(n,)` int64, the column of each photo's category, -1 if the snapshot does not have it.
        probabilities: `(n, n_categories)` float32, of the classifier.
        searched: `(n_searched,)` int64, the photos that are searched by: all, or a random part of very many.
        nearest: for each of `searched`, the nearest items by category.
        of_folds: the snapshot with the head of each fold; none for photos from elsewhere.
    """

    snapshot: Snapshot
    photos: LabelledPhotos
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    searched: NDArray[np.int64]
    nearest: Sequence[Mapping[str, Sequence[Hit]]]
    of_folds: Sequence[Snapshot] = ()
    _hit_categories: dict[Probe, list[list[str]]] = field(default_factory=dict)

    @property
    def categories(self) -> tuple[str, ...]:
        """The categories of the snapshot, in the order of the columns."""
        return self.snapshot.classifier.categories

    @cached_property
    def ranked(self) -> NDArray[np.intp]:
        """`(n, n_categories)`: the columns by probability, most probable first."""
        return ranking(self.probabilities)

    @cached_property
    def confidence(self) -> NDArray[np.float32]:
        """`(n,)` float32: the highest probability of each photo."""
        highest: NDArray[np.float32] = self.probabilities.max(axis=1)
        return highest

    @cached_property
    def is_right(self) -> NDArray[np.bool_]:
        """`(n,)` bool: True if the most probable category is the photo's own."""
        is_right: NDArray[np.bool_] = self.ranked[:, 0] == self.labels
        return is_right

    @cached_property
    def auto(self) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """`(n,)` bool: True if `probe: auto` searches the photo's category; `(n,)` int64: how many it searches."""
        return probe_auto(self.snapshot.classifier, self.probabilities, self.labels, PROBE_COVERAGE)

    def most_probable(self, photo: int) -> str:
        """Return the most probable category of a photo."""
        return self.categories[int(self.ranked[photo, 0])]

    @property
    def searched_truth(self) -> list[str]:
        """The category of each of `searched`."""
        return [self.photos.truth[photo] for photo in self.searched]

    def search(self, probe: Probe) -> list[SearchResult]:
        """Search by each of `searched` for `TOP_K` items."""
        options = SearchOptions(top_k=TOP_K, probe=probe)
        return [
            self._searcher(photo).search(self.photos.queries[photo], options, rank, nearest)
            for photo, rank, nearest in zip(self.searched, self._rankings, self.nearest, strict=True)
        ]

    @cached_property
    def strict(self) -> list[SearchResult]:
        """The searches of the predicted category alone, one for each of `searched`."""
        return self.search(probe=1)

    def hit_categories(self, probe: Probe) -> list[list[str]]:
        """For each of `searched`, the categories of its hits."""
        if probe not in self._hit_categories:
            results = self.strict if probe == 1 else self.search(probe)
            self._hit_categories[probe] = [[hit.item.category for hit in result.hits] for result in results]
        return self._hit_categories[probe]

    def _searcher(self, photo: int) -> Searcher:
        return self._searchers[0 if self.photos.folds is None else int(self.photos.folds[photo])]

    @cached_property
    def _searchers(self) -> list[Searcher]:
        return [Searcher(snapshot) for snapshot in self.of_folds or (self.snapshot,)]

    @cached_property
    def _rankings(self) -> list[CategoryRanking]:
        return [self._searcher(photo).classify(self.photos.queries[photo]) for photo in self.searched]


def predict(
    snapshot: Snapshot,
    photos: LabelledPhotos,
    stage: Stage,
    max_searched: int | None = None,
    of_folds: Sequence[Snapshot] = (),
) -> Predictions:
    """Classify photos, and find the nearest items of every partition.

    Args:
        snapshot: open.
        photos: at least one.
        stage: advances with each partition.
        max_searched: most photos to search by; None for all.
        of_folds: the snapshot with the head of each fold; for photos with folds.
    """
    categories = snapshot.classifier.categories
    columns = {category: column for column, category in enumerate(categories)}
    labels = np.array([columns.get(category, -1) for category in photos.truth], dtype=np.int64)
    probabilities = _probabilities(photos, of_folds or (snapshot,))
    searched = np.arange(len(photos))
    if max_searched is not None and len(photos) > max_searched:
        searched = np.sort(np.random.default_rng(_SEED).permutation(len(photos))[:max_searched])
    queries = [photos.queries[photo] for photo in searched]
    nearest: list[dict[str, list[Hit]]] = [{} for _ in queries]
    for category in categories:
        for by_category, hits in zip(nearest, nearest_items(snapshot, category, queries, TOP_K), strict=True):
            by_category[category] = hits
        stage.advance()
    return Predictions(snapshot, photos, labels, probabilities, searched, nearest, of_folds)


def _probabilities(photos: LabelledPhotos, snapshots: Sequence[Snapshot]) -> NDArray[np.float32]:
    """`(n, n_categories)` float32: of each photo by the head of its fold."""
    folds = np.zeros(len(photos), np.int64) if photos.folds is None else photos.folds
    probabilities = np.empty((len(photos), len(snapshots[0].classifier.categories)), dtype=np.float32)
    for fold in np.unique(folds):
        probabilities[folds == fold] = snapshots[fold].classifier.probabilities(photos.embeddings[folds == fold])
    return probabilities


def affordable_searches(rows: int, categories: int) -> int:
    """Return by how many photos a snapshot of so many rows and categories can be searched in some ten seconds."""
    affordable = min(_MAX_COMPARED // max(1, rows), _MAX_PARTITIONS_SEARCHED // max(1, categories))
    return min(_MAX_SEARCHED, max(_MIN_SEARCHED, affordable))
