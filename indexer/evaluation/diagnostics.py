"""What a report tells beyond the figures of `Evaluation`: how sure these are, and where the snapshot goes wrong.

1. Intervals: Wilson's for shares of photos; for means over photos percentiles of 1,000 resamplings (Efron, 1979). The
   calibration error has none: chance always adds to it, so that what resampling gives lies above it.
2. Confusions, coverage by the number of partitions searched, the scores of right and wrong hits.
3. The worst mistakes: the photos that were taken for another category with the greatest confidence.
4. Each partition: what it holds, its kind, its recall, how long it takes.
"""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from indexer.evaluation.evaluate import Evaluation
from indexer.evaluation.predictions import TOP_K, Predictions
from indexer.evaluation.retrieval_metrics import interval
from indexer.files.location import location
from shared.index.category_search import Hit

Interval: TypeAlias = tuple[float, float]
"""95 %."""

_ROUNDS = 1000
_MOST_PROBES = 10
_SCORE_BINS = 40
_MISTAKES = 12
_HITS_SHOWN = 5
_TIMED = 15


@dataclass(frozen=True)
class Confusions:
    """How many photos of each true category were taken for which.

    Attributes:
        truth: the true categories: the rows.
        predicted: the snapshot's categories: the columns.
        counts: the photos.
    """

    truth: tuple[str, ...]
    predicted: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Coverage:
    """The share of photos whose category is among so many of the most probable, which a search covers then."""

    probe: int
    coverage: float
    interval: Interval


@dataclass(frozen=True)
class ScoreBin:
    """How many hits of strict searches have a score in a bin, with the photo's true category or with another."""

    above: float
    up_to: float
    right: int
    wrong: int


@dataclass(frozen=True)
class HitImage:
    """One hit of a photo that was taken for a wrong category."""

    item_id: str
    image: str
    score: float


@dataclass(frozen=True)
class Mistake:
    """A photo that was taken for a wrong category, and the nearest items of that."""

    image: str
    category: str
    predicted: str
    confidence: float
    hits: tuple[HitImage, ...]


@dataclass(frozen=True)
class PartitionFigures:
    """One partition: what it holds, its index, and the median time of a search by one photo for ten items."""

    category: str
    items: int
    images: int
    rows: int
    index_kind: str
    ann_recall_at_10: float
    search_ms: float


@dataclass(frozen=True)
class Diagnostics:
    """What a report tells.

    Attributes:
        intervals: 95 %, of figures of `Evaluation`, by their names.
        category_intervals: of each true category's accuracy.
        confusions: by category.
        coverage: for one partition searched, two, and so on.
        scores: of the hits of strict searches.
        searched: the photos that were searched by.
        mistakes: the worst.
        n_mistakes: how many there are.
        partitions: each.
        snapshot_items: in the snapshot.
        snapshot_images: these have so many.
    """

    intervals: Mapping[str, Interval]
    category_intervals: Mapping[str, Interval]
    confusions: Confusions
    coverage: tuple[Coverage, ...]
    scores: tuple[ScoreBin, ...]
    searched: int
    mistakes: tuple[Mistake, ...]
    n_mistakes: int
    partitions: tuple[PartitionFigures, ...]
    snapshot_items: int
    snapshot_images: int

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def diagnose(judged: Predictions, evaluation: Evaluation) -> Diagnostics:
    """Look at judged photos.

    Args:
        judged: the photos, and what the snapshot says of them.
        evaluation: the figures over them.
    """
    manifest = judged.snapshot.manifest
    coverage = _coverage(judged)
    return Diagnostics(
        intervals=_intervals(judged, evaluation),
        category_intervals={
            one.category: interval(one.category_accuracy, one.queries) for one in evaluation.by_category
        },
        confusions=_confusions(judged),
        coverage=coverage,
        scores=_scores(judged),
        searched=len(judged.searched),
        mistakes=_mistakes(judged),
        n_mistakes=int((~judged.right).sum()),
        partitions=_partitions(judged),
        snapshot_items=manifest.items,
        snapshot_images=manifest.images,
    )


def resampled_mean(each: NDArray[np.float64]) -> Interval:
    """The 95 % percentile interval of a mean over `(n,)` photos, by drawing as many, with replacement (Efron, 1979)."""
    random = np.random.default_rng(0)
    means = [each[random.integers(len(each), size=len(each))].mean() for _ in range(_ROUNDS)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _intervals(judged: Predictions, evaluation: Evaluation) -> dict[str, Interval]:
    n = len(judged.photos)
    shares = ("category_accuracy", "category_accuracy_at_2", "category_accuracy_at_3", "probe_auto_coverage")
    found = {name: interval(getattr(evaluation, name), n) for name in shares}
    for name, probe in (
        ("category_precision_at_10", 1),
        ("unfiltered_category_precision_at_10", len(judged.categories)),
    ):
        found[name] = resampled_mean(_precisions(judged, probe))
    return found


def _precisions(judged: Predictions, probe: int) -> NDArray[np.float64]:
    """`(n_searched,)`: the share of each search's hits that have the photo's true category."""
    truth = [judged.photos.truth[photo] for photo in judged.searched]
    return np.array(
        [
            sum(category == wanted for category in found) / max(1, len(found))
            for found, wanted in zip(judged.hit_categories(probe), truth, strict=True)
        ]
    )


def _confusions(judged: Predictions) -> Confusions:
    truth = tuple(sorted(set(judged.photos.truth)))
    rows = np.searchsorted(truth, judged.photos.truth)
    counts = np.zeros((len(truth), len(judged.categories)), dtype=np.int64)
    np.add.at(counts, (rows, judged.ranked[:, 0]), 1)
    return Confusions(truth, judged.categories, tuple(tuple(row) for row in counts.tolist()))


def _coverage(judged: Predictions) -> tuple[Coverage, ...]:
    matches = judged.ranked == judged.labels[:, np.newaxis]
    found = []
    for probe in range(1, min(_MOST_PROBES, len(judged.categories)) + 1):
        share = float(matches[:, :probe].any(axis=1).mean())
        found.append(Coverage(probe, share, interval(share, len(matches))))
    return tuple(found)


def _scores(judged: Predictions) -> tuple[ScoreBin, ...]:
    scores, right = [], []
    for place, photo in enumerate(judged.searched.tolist()):
        hits = judged.hits(place)
        scores += [hit.score for hit in hits]
        right += [bool(judged.right[photo])] * len(hits)
    if not scores:
        return ()
    edges = np.linspace(min(scores) - 1e-6, max(scores) + 1e-6, _SCORE_BINS + 1)
    of, is_right = np.array(scores), np.array(right)
    counts = [np.histogram(of[chosen], edges)[0].tolist() for chosen in (is_right, ~is_right)]
    return tuple(ScoreBin(*one) for one in zip(edges[:-1].tolist(), edges[1:].tolist(), *counts, strict=True))


def _mistakes(judged: Predictions) -> tuple[Mistake, ...]:
    """Of the photos that were searched by, those of the greatest confidence."""
    places = np.flatnonzero(~judged.right[judged.searched])
    surest = places[np.argsort(-judged.confidence[judged.searched[places]], kind="stable")][:_MISTAKES]
    return tuple(_mistake(judged, place) for place in surest.tolist())


def _mistake(judged: Predictions, place: int) -> Mistake:
    photo = int(judged.searched[place])
    hits = judged.hits(place)[:_HITS_SHOWN]
    return Mistake(
        image=str(judged.photos.paths[photo]),
        category=judged.photos.truth[photo],
        predicted=judged.predicted(photo),
        confidence=float(judged.confidence[photo]),
        hits=_found_images(judged, hits),
    )


def _found_images(judged: Predictions, hits: list[Hit]) -> tuple[HitImage, ...]:
    root = location(judged.snapshot.manifest.image_root)
    items = judged.snapshot.items.by_numbers([hit.item_number for hit in hits])
    return tuple(
        HitImage(one.item.item_id, str(root / one.item.images[0]), hit.score)
        for one, hit in zip(items, hits, strict=True)
    )


def _partitions(judged: Predictions) -> tuple[PartitionFigures, ...]:
    queries = judged.photos.embeddings[:_TIMED]
    found = []
    for entry in judged.snapshot.manifest.categories:
        partition = judged.snapshot.partition(entry.name)
        times_s = []
        for place in range(len(queries)):
            started = time.perf_counter()
            partition.search(queries[place : place + 1], TOP_K)
            times_s.append(time.perf_counter() - started)
        told = (entry.name, entry.items, entry.images, entry.rows, entry.index_kind, entry.ann_recall_at_10)
        found.append(PartitionFigures(*told, search_ms=round(1000 * float(np.median(times_s)), 3)))
    return tuple(found)
