"""The evaluation of a snapshot on labelled photos that are not in it.

1. Read the photos and make queries of them, as the service does of uploads.
2. Classify them and search by them, with the `Searcher` that the service uses.
3. Compute figures over all photos, and by category.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from indexer.classifier.metrics import (
    ReliabilityBin,
    category_accuracy_at,
    expected_calibration_error,
    reliability,
)
from indexer.console.progress import Reporter
from indexer.evaluation.labelled_photos import LabelledPhotos
from indexer.evaluation.predictions import Predictions, predict
from indexer.evaluation.retrieval_metrics import OodFigures, ood_figures, precision, share_interval
from shared.snapshot.snapshot import Snapshot


@dataclass(frozen=True)
class CategoryFigures:
    """One true category: how many queries show it, and the share of them that is classified as it."""

    category: str
    queries: int
    category_accuracy: float


@dataclass(frozen=True)
class Evaluation:
    """The figures that `indexer evaluate` reports.

    Attributes:
        snapshot_id: of the snapshot evaluated.
        queries: number of photos.
        skipped: number of photos that could not be read.
        category_accuracy: share whose true category is the most probable one by the classifier.
        category_accuracy_interval: 95 %, for so many queries, or groups of them where they come in groups.
        category_accuracy_at_2: …is among the two most probable: what a search with probe 2 covers.
        category_accuracy_at_3: …among three.
        probe_auto_coverage: …is among those that a search with probe auto covers, at the service's default setting.
        probe_auto_partitions: how many partitions that searches on average.
        expected_calibration_error: 15 bins of equal width.
        category_precision_at_10: mean share of the 10 hits of a strict search that have the true category.
        category_precision_at_10_probe_2: …of a search over the two most probable categories.
        category_precision_at_10_probe_3: …over three.
        unfiltered_category_precision_at_10: …over all partitions, without the classifier.
        unfiltered_nearest_accuracy: share whose nearest item, over all partitions, has the true category.
        strict_hits_outside_prediction: hits of strict searches that are not of the predicted category; 0 unless the
            snapshot is damaged.
        unknown_categories: true categories that the snapshot does not have; their queries count as mistakes.
        known_share: of the queries whose category the snapshot has, the share that is in distribution by its OOD rule;
            this and the next two are None if the snapshot has no OOD rule, or there are no such queries.
        unknown_detected: of the queries whose category it does not have, the share that is OOD.
        known_auroc: the probability that one of the former scores higher than one of the latter.
        by_category: each true category.
        reliability: confidence against accuracy.
    """

    snapshot_id: str
    queries: int
    skipped: int
    category_accuracy: float
    category_accuracy_interval: tuple[float, float]
    category_accuracy_at_2: float
    category_accuracy_at_3: float
    probe_auto_coverage: float
    probe_auto_partitions: float
    expected_calibration_error: float
    category_precision_at_10: float
    category_precision_at_10_probe_2: float
    category_precision_at_10_probe_3: float
    unfiltered_category_precision_at_10: float
    unfiltered_nearest_accuracy: float
    strict_hits_outside_prediction: int
    unknown_categories: tuple[str, ...]
    known_share: float | None
    unknown_detected: float | None
    known_auroc: float | None
    by_category: tuple[CategoryFigures, ...]
    reliability: tuple[ReliabilityBin, ...]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def evaluate(snapshot: Snapshot, queries: Path, threads: int, reporter: Reporter) -> Evaluation:
    """Evaluate an open snapshot on labelled photos; arguments and errors as of `predict_queries`."""
    return evaluation_of(predict_queries(snapshot, queries, threads, reporter))


def predict_queries(snapshot: Snapshot, queries: Path, threads: int, reporter: Reporter) -> Predictions:
    """Read labelled photos, classify them and search by them.

    Args:
        snapshot: to evaluate; opened with at least `threads` interpreters.
        queries: a catalogue (folders, CSV or JSON lines) whose categories are the truth.
        threads: number of photos that are embedded at once.
        reporter: receives progress.

    Raises:
        CatalogueError: not one photo can be read.
    """
    photos = LabelledPhotos.read(snapshot, queries, threads, reporter)
    with reporter.stage("search", len(snapshot.partitions)) as stage:
        return predict(snapshot, photos, stage)


def evaluation_of(predictions: Predictions) -> Evaluation:
    """Compute the figures: those of the classifier over all photos, those of searches over the photos searched by."""
    photos, probabilities, labels = predictions.photos, predictions.probabilities, predictions.labels
    truth = predictions.searched_truth
    unfiltered = predictions.hit_categories(len(predictions.categories))
    accuracy = category_accuracy_at(1, probabilities, labels)
    covered, probed = predictions.auto
    ood = _ood_figures(predictions)
    return Evaluation(
        snapshot_id=predictions.snapshot.snapshot_id,
        queries=len(photos),
        skipped=photos.skipped,
        category_accuracy=accuracy,
        category_accuracy_interval=share_interval(predictions.is_right, photos.groups),
        category_accuracy_at_2=category_accuracy_at(2, probabilities, labels),
        category_accuracy_at_3=category_accuracy_at(3, probabilities, labels),
        probe_auto_coverage=float(covered.mean()),
        probe_auto_partitions=float(probed.mean()),
        expected_calibration_error=expected_calibration_error(probabilities, labels),
        category_precision_at_10=precision(predictions.hit_categories(1), truth),
        category_precision_at_10_probe_2=precision(predictions.hit_categories(2), truth),
        category_precision_at_10_probe_3=precision(predictions.hit_categories(3), truth),
        unfiltered_category_precision_at_10=precision(unfiltered, truth),
        unfiltered_nearest_accuracy=precision([categories[:1] for categories in unfiltered], truth),
        strict_hits_outside_prediction=sum(
            hit.item.category != result.predicted.category for result in predictions.strict for hit in result.hits
        ),
        unknown_categories=tuple(sorted(set(photos.truth) - set(predictions.categories))),
        known_share=ood.known_share,
        unknown_detected=ood.unknown_detected,
        known_auroc=ood.known_auroc,
        by_category=_by_category(photos.truth, [predictions.most_probable(photo) for photo in range(len(photos))]),
        reliability=reliability(probabilities, labels),
    )


def _ood_figures(predictions: Predictions) -> OodFigures:
    if predictions.snapshot.classifier.ood_rule is None:
        return OodFigures()
    verdicts = [result.ood_verdict for result in predictions.strict]
    # A verdict without a score is that on a file of the catalogue.
    margins = np.array([np.inf if verdict.score is None else verdict.score for verdict in verdicts])
    return ood_figures(margins, predictions.labels[predictions.searched])


def _by_category(truth: Sequence[str], predicted: Sequence[str]) -> tuple[CategoryFigures, ...]:
    figures = []
    for category in sorted(set(truth)):
        is_right = [guess == category for guess, own in zip(predicted, truth, strict=True) if own == category]
        figures.append(CategoryFigures(category, len(is_right), sum(is_right) / len(is_right)))
    return tuple(figures)


def show(evaluation: Evaluation, reporter: Reporter) -> None:
    """Print the figures as tables."""
    rows = [(figures.category, figures.queries, figures.category_accuracy) for figures in evaluation.by_category]
    reporter.table("By category", ["category", "queries", "category_accuracy"], rows)
    rows = [tuple(asdict(each).values()) for each in evaluation.reliability]
    header = ["confidence above", "up to", "queries", "mean confidence", "category_accuracy"]
    reporter.table("Reliability", header, rows)
    figures = [(name, value) for name, value in evaluation.as_dict().items() if isinstance(value, int | float | str)]
    reporter.table("Evaluation", ["figure", "value"], figures)
    if evaluation.unknown_categories:
        reporter.say(f"not in the snapshot, so never right: {', '.join(evaluation.unknown_categories)}")
