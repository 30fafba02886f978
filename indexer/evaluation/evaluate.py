"""Judge a snapshot by labelled photos that are not in it.

1. Embed the queries as the service would.
2. Search every partition once for all queries; strict, probed and unfiltered answers are put together from that.
3. Figures over all queries and by category.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from indexer.catalogue.reader import read_catalogue
from indexer.classifier.metrics import (
    ReliabilityBin,
    category_accuracy_at,
    expected_calibration_error,
    probe_auto,
    reliability,
)
from indexer.console.progress import Reporter
from indexer.embedding.augmentation import Augmentation
from indexer.embedding.embed_catalogue import embed_catalogue
from indexer.embedding.embed_image import EmbeddingConfig
from indexer.evaluation.predictions import LabelledPhotos, Predictions, predict
from indexer.evaluation.retrieval_metrics import OodFigures, interval, ood_figures, precision
from shared.images.limits import ImageLimits
from shared.model.classifier import PROBE_COVERAGE
from shared.model.ood_rule import mean_cosine
from shared.snapshot.snapshot import Snapshot


@dataclass(frozen=True)
class CategoryFigures:
    """One true category: how many queries show it, and the share of them that was recognised."""

    category: str
    queries: int
    category_accuracy: float


@dataclass(frozen=True)
class Evaluation:
    """What `indexer evaluate` reports.

    Attributes:
        snapshot_id: what was judged.
        queries: how many photos.
        skipped: photos that could not be read.
        category_accuracy: share whose true category is the predicted one.
        category_accuracy_interval: 95 %, for so many queries.
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
        strict_hits_outside_prediction: hits of strict searches that are not of the predicted category; 0 unless broken.
        unknown_categories: true categories that the snapshot doesn't have; their queries count as mistakes.
        known_share: of the queries whose category the snapshot has, the share that is said to be known; this and the
            next two are None where the snapshot has no rule for that, or no query is of the kind.
        unknown_detected: of the queries whose category it does not have, the share that is said to be unknown.
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
    """Judge an open snapshot by labelled photos; arguments and errors as of `predict_queries`."""
    return evaluation_of(predict_queries(snapshot, queries, threads, reporter))


def predict_queries(snapshot: Snapshot, queries: Path, threads: int, reporter: Reporter) -> Predictions:
    """Embed labelled photos as the service would, classify them and search by them.

    Args:
        snapshot: under judgement; opened with at least `threads` interpreters.
        queries: a catalogue (folders, CSV or JSON lines) whose categories are the truth.
        threads: photos that are embedded at once.
        reporter: told of progress.

    Raises:
        CatalogueError: there is not one photo that can be read.
    """
    catalogue = read_catalogue(queries)
    with reporter.stage("embed queries", sum(len(item.images) for item in catalogue.items)) as stage:
        preprocessing = snapshot.manifest.preprocessing
        config = EmbeddingConfig(
            snapshot.embedder, Augmentation(copies=0), ImageLimits(), threads, preprocessing=preprocessing
        )
        embedded = embed_catalogue(catalogue, config, stage)
    photos = LabelledPhotos.of_queries(embedded, catalogue.image_root)
    with reporter.stage("search", len(snapshot.partitions)) as stage:
        return predict(snapshot, photos, stage)


def evaluation_of(judged: Predictions) -> Evaluation:
    """The figures over all photos and by category; those of hits are over the photos that were searched by."""
    photos, probabilities, labels = judged.photos, judged.probabilities, judged.labels
    truth = [photos.truth[place] for place in judged.searched]
    predicted = [judged.predicted(place) for place in range(len(photos))]
    strict, unfiltered = judged.hit_categories(1), judged.hit_categories(len(judged.categories))
    accuracy = category_accuracy_at(1, probabilities, labels)
    covered, probed = probe_auto(judged.snapshot.classifier, probabilities, labels, PROBE_COVERAGE)
    known = _known(judged)
    return Evaluation(
        snapshot_id=judged.snapshot.snapshot_id,
        queries=len(photos),
        skipped=photos.skipped,
        category_accuracy=accuracy,
        category_accuracy_interval=interval(accuracy, len(photos)),
        category_accuracy_at_2=category_accuracy_at(2, probabilities, labels),
        category_accuracy_at_3=category_accuracy_at(3, probabilities, labels),
        probe_auto_coverage=covered,
        probe_auto_partitions=probed,
        expected_calibration_error=expected_calibration_error(probabilities, labels),
        category_precision_at_10=precision(strict, truth),
        category_precision_at_10_probe_2=precision(judged.hit_categories(2), truth),
        category_precision_at_10_probe_3=precision(judged.hit_categories(3), truth),
        unfiltered_category_precision_at_10=precision(unfiltered, truth),
        unfiltered_nearest_accuracy=precision([categories_found[:1] for categories_found in unfiltered], truth),
        strict_hits_outside_prediction=sum(
            category != predicted[photo]
            for found, photo in zip(strict, judged.searched, strict=True)
            for category in found
        ),
        unknown_categories=tuple(sorted(set(photos.truth) - set(judged.categories))),
        known_share=known.known_share,
        unknown_detected=known.unknown_detected,
        known_auroc=known.known_auroc,
        by_category=_by_category(photos.truth, predicted),
        reliability=reliability(probabilities, labels),
    )


def _known(judged: Predictions) -> OodFigures:
    """How well photos of the snapshot's categories are told from others."""
    classifier, searched = judged.snapshot.classifier, judged.searched
    if classifier.ood_rule is None:
        return OodFigures()
    embeddings = judged.photos.embeddings[searched]
    columns = judged.ranked[searched, 0]
    cosines = np.array([mean_cosine(judged.found[column][place]) for place, column in enumerate(columns)])
    margins = classifier.ood_rule.margins(embeddings, classifier.logits(embeddings), columns, cosines)
    return ood_figures(margins, judged.labels[searched])


def _by_category(truth: Sequence[str], predicted: Sequence[str]) -> tuple[CategoryFigures, ...]:
    figures = []
    for category in sorted(set(truth)):
        right = [guess == category for guess, wanted in zip(predicted, truth, strict=True) if wanted == category]
        figures.append(CategoryFigures(category, len(right), sum(right) / len(right)))
    return tuple(figures)


def show(evaluation: Evaluation, reporter: Reporter) -> None:
    """Print the figures for a person."""
    rows = [(figures.category, figures.queries, figures.category_accuracy) for figures in evaluation.by_category]
    reporter.table("By category", ["category", "queries", "category_accuracy"], rows)
    rows = [tuple(asdict(one).values()) for one in evaluation.reliability]
    header = ["confidence above", "up to", "queries", "mean confidence", "category_accuracy"]
    reporter.table("Reliability", header, rows)
    figures = [(name, value) for name, value in evaluation.as_dict().items() if isinstance(value, int | float | str)]
    reporter.table("Evaluation", ["figure", "value"], figures)
    if evaluation.unknown_categories:
        reporter.say(f"not in the snapshot, so never right: {', '.join(evaluation.unknown_categories)}")
