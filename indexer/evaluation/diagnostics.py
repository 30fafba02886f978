"""Diagnostics beside the figures of `Evaluation`: how sure these are, and where the snapshot goes wrong.

1. Intervals: Wilson's for shares of photos, or over groups where photos come in groups; for means over photos
   percentiles of 1,000 resamplings (Efron, 1979). The calibration error has none: chance always adds to it, so that
   what resampling gives lies above it.
2. Confusions, coverage by the number of partitions searched, the scores of right and wrong hits.
3. The worst mistakes: the photos that were taken for another category with the highest confidence.
4. The figures of each partition.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from indexer.evaluation.evaluate import Evaluation
from indexer.evaluation.partition_figures import PartitionFigures, measure_partitions
from indexer.evaluation.predictions import Predictions
from indexer.evaluation.retrieval_metrics import precisions, share_interval
from indexer.files.location import location

Interval: TypeAlias = tuple[float, float]
"""The ends of a 95 % interval."""

_N_RESAMPLINGS = 1000
_MAX_PROBE = 10
_N_SCORE_BINS = 40
_N_MISTAKES = 12
_N_HITS_SHOWN = 5


@dataclass(frozen=True)
class Confusions:
    """The confusion matrix of photos.

    Attributes:
        truth: the true categories, one per row.
        predicted: the categories of the snapshot, one per column.
        counts: the numbers of photos.
    """

    truth: tuple[str, ...]
    predicted: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Coverage:
    """The share of photos whose category is among the `probe` most probable ones."""

    probe: int
    coverage: float
    interval: Interval


@dataclass(frozen=True)
class ScoreBin:
    """The number of hits of strict searches with a score in one bin, of the photo's true category and of others."""

    above: float
    up_to: float
    right: int
    wrong: int


@dataclass(frozen=True)
class HitImage:
    """One hit of a photo that was taken for another category."""

    item_id: str
    image: str
    score: float


@dataclass(frozen=True)
class Mistake:
    """A photo that was taken for another category, and its first hits."""

    image: str
    category: str
    predicted: str
    confidence: float
    hits: tuple[HitImage, ...]


@dataclass(frozen=True)
class Diagnostics:
    """The diagnostics of an evaluation.

    Attributes:
        intervals: of figures of `Evaluation`, by their names.
        category_intervals: of each true category's accuracy.
        confusions: by category.
        coverage: for one partition searched, two, and so on.
        scores: of the hits of strict searches.
        searched: number of photos that were searched by.
        mistakes: those of the highest confidence.
        n_mistakes: number of photos searched by that were taken for another category.
        partitions: the figures of each.
        snapshot_items: number of items in the snapshot.
        snapshot_images: number of their images.
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


def diagnose(predictions: Predictions, evaluation: Evaluation) -> Diagnostics:
    """Compute the diagnostics of predictions and of the figures over them."""
    manifest = predictions.snapshot.manifest
    mistakes = _mistakes(predictions)
    return Diagnostics(
        intervals=_intervals(predictions, evaluation),
        category_intervals={
            figures.category: _category_interval(predictions, figures.category) for figures in evaluation.by_category
        },
        confusions=_confusions(predictions),
        coverage=_coverage(predictions),
        scores=_scores(predictions),
        searched=len(predictions.searched),
        mistakes=tuple(_mistake(predictions, position) for position in mistakes[:_N_MISTAKES]),
        n_mistakes=len(mistakes),
        partitions=measure_partitions(predictions),
        snapshot_items=manifest.items,
        snapshot_images=manifest.images,
    )


def resampled_mean(values: NDArray[np.float64]) -> Interval:
    """Return the 95 % percentile interval of the mean of `(n,)` values by resampling (Efron, 1979)."""
    random = np.random.default_rng(0)
    means = [values[random.integers(len(values), size=len(values))].mean() for _ in range(_N_RESAMPLINGS)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def _intervals(predictions: Predictions, evaluation: Evaluation) -> dict[str, Interval]:
    matches, groups = predictions.ranked == predictions.labels[:, np.newaxis], predictions.photos.groups
    intervals = {
        "category_accuracy": evaluation.category_accuracy_interval,
        "category_accuracy_at_2": share_interval(matches[:, :2].any(axis=1), groups),
        "category_accuracy_at_3": share_interval(matches[:, :3].any(axis=1), groups),
        "probe_auto_coverage": share_interval(predictions.auto[0], groups),
    }
    for name, probe in (
        ("category_precision_at_10", 1),
        ("unfiltered_category_precision_at_10", len(predictions.categories)),
    ):
        intervals[name] = resampled_mean(precisions(predictions.hit_categories(probe), predictions.searched_truth))
    return intervals


def _category_interval(predictions: Predictions, category: str) -> Interval:
    own = np.array([truth == category for truth in predictions.photos.truth])
    groups = predictions.photos.groups
    return share_interval(predictions.is_right[own], None if groups is None else groups[own])


def _confusions(predictions: Predictions) -> Confusions:
    truth = tuple(sorted(set(predictions.photos.truth)))
    rows = np.searchsorted(truth, predictions.photos.truth)
    counts = np.zeros((len(truth), len(predictions.categories)), dtype=np.int64)
    np.add.at(counts, (rows, predictions.ranked[:, 0]), 1)
    return Confusions(truth, predictions.categories, tuple(tuple(row) for row in counts.tolist()))


def _coverage(predictions: Predictions) -> tuple[Coverage, ...]:
    matches = predictions.ranked == predictions.labels[:, np.newaxis]
    coverage = []
    for probe in range(1, min(_MAX_PROBE, len(predictions.categories)) + 1):
        is_covered = matches[:, :probe].any(axis=1)
        interval = share_interval(is_covered, predictions.photos.groups)
        coverage.append(Coverage(probe, float(is_covered.mean()), interval))
    return tuple(coverage)


def _scores(predictions: Predictions) -> tuple[ScoreBin, ...]:
    hits = [
        (hit.score, hit.item.category == category)
        for result, category in zip(predictions.strict, predictions.searched_truth, strict=True)
        for hit in result.hits
    ]
    if not hits:
        return ()
    scores, is_right = (np.array(values) for values in zip(*hits, strict=True))
    edges = np.linspace(scores.min() - 1e-6, scores.max() + 1e-6, _N_SCORE_BINS + 1)
    counts = [np.histogram(scores[chosen], edges)[0].tolist() for chosen in (is_right, ~is_right)]
    return tuple(ScoreBin(*values) for values in zip(edges[:-1].tolist(), edges[1:].tolist(), *counts, strict=True))


def _mistakes(predictions: Predictions) -> list[int]:
    """Return the positions in `searched` of the photos taken for another category, highest confidence first."""
    truth, results = predictions.searched_truth, predictions.strict
    mistakes = [position for position, result in enumerate(results) if result.predicted.category != truth[position]]
    return sorted(mistakes, key=lambda position: -results[position].predicted.confidence)


def _mistake(predictions: Predictions, position: int) -> Mistake:
    photo, result = int(predictions.searched[position]), predictions.strict[position]
    root = location(predictions.snapshot.manifest.image_root)
    return Mistake(
        image=str(predictions.photos.paths[photo]),
        category=predictions.photos.truth[photo],
        predicted=result.predicted.category,
        confidence=result.predicted.confidence,
        hits=tuple(
            HitImage(hit.item.item_id, str(root / hit.item.images[0]), hit.score) for hit in result.hits[:_N_HITS_SHOWN]
        ),
    )
