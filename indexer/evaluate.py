"""Judge a snapshot by labelled photos that are not in it.

1. Embed the queries as the service would.
2. Search every partition once for all queries; strict, probed and unfiltered answers are put together from that.
3. Figures over all queries and by category.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.augment import Augmentation
from indexer.embed import Embedding, embed_catalogue
from indexer.metrics import (
    KnownFigures,
    ReliabilityBin,
    category_accuracy_at,
    expected_calibration_error,
    interval,
    known_figures,
    precision,
    probe_auto,
    reliability,
)
from indexer.read_catalogue import read_catalogue
from indexer.report import Reporter
from shared.classifier import PROBE_COVERAGE, ranking
from shared.images import ImageLimits
from shared.known import mean_cosine
from shared.partition import Hit, best_hits
from shared.snapshot import Snapshot
from shared.vectors import Vectors

TOP_K = 10


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
    """Judge an open snapshot.

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
        how = Embedding(snapshot.embedder, Augmentation(copies=0), ImageLimits(), threads)
        embedded = embed_catalogue(catalogue, how, stage)
    truth = [embedded.items[number].category for number in embedded.image_items]
    categories = snapshot.classifier.categories
    labels = embedded.columns(np.arange(len(truth)), categories)
    probabilities = snapshot.classifier.probabilities(embedded.originals)
    ranked = ranking(probabilities)

    with reporter.stage("search", len(categories)) as stage:
        found = []
        for category in categories:
            found.append(snapshot.partition(category).search(embedded.originals, TOP_K))
            stage.advance()
    item_categories = [indexed.item.category for indexed in snapshot.items]

    def hits(probe: int) -> list[list[str]]:
        return [
            [item_categories[hit.item_number] for hit in _merged(found, ranked[query, :probe], query)]
            for query in range(len(truth))
        ]

    strict, unfiltered = hits(1), hits(len(categories))
    predicted = [categories[place] for place in ranked[:, 0]]
    accuracy = category_accuracy_at(1, probabilities, labels)
    known = _known(snapshot, embedded.originals, ranked[:, 0], found, labels)
    covered, probed = probe_auto(snapshot.classifier, probabilities, labels, PROBE_COVERAGE)
    return Evaluation(
        snapshot_id=snapshot.snapshot_id,
        queries=len(truth),
        skipped=len(embedded.problems),
        category_accuracy=accuracy,
        category_accuracy_interval=interval(accuracy, len(truth)),
        category_accuracy_at_2=category_accuracy_at(2, probabilities, labels),
        category_accuracy_at_3=category_accuracy_at(3, probabilities, labels),
        probe_auto_coverage=covered,
        probe_auto_partitions=probed,
        expected_calibration_error=expected_calibration_error(probabilities, labels),
        category_precision_at_10=precision(strict, truth),
        category_precision_at_10_probe_2=precision(hits(2), truth),
        category_precision_at_10_probe_3=precision(hits(3), truth),
        unfiltered_category_precision_at_10=precision(unfiltered, truth),
        unfiltered_nearest_accuracy=precision([categories_found[:1] for categories_found in unfiltered], truth),
        strict_hits_outside_prediction=sum(
            category != wanted for one, wanted in zip(strict, predicted, strict=True) for category in one
        ),
        unknown_categories=tuple(sorted(set(truth) - set(categories))),
        known_share=known.known_share,
        unknown_detected=known.unknown_detected,
        known_auroc=known.known_auroc,
        by_category=_by_category(truth, predicted),
        reliability=reliability(probabilities, labels),
    )


def _merged(found: Sequence[Sequence[list[Hit]]], places: NDArray[np.intp], query: int) -> list[Hit]:
    return best_hits(hit for place in places for hit in found[place][query])[:TOP_K]


def _known(
    snapshot: Snapshot,
    queries: Vectors,
    columns: NDArray[np.intp],
    found: Sequence[Sequence[list[Hit]]],
    labels: NDArray[np.int64],
) -> KnownFigures:
    """Of `queries` that were predicted to be of `columns`, of which `found` has the hits in every partition."""
    rule = snapshot.classifier.known
    if rule is None:
        return KnownFigures()
    cosines = np.array([mean_cosine(found[column][query]) for query, column in enumerate(columns)])
    margins = rule.margins(queries, snapshot.classifier.logits(queries), columns, cosines)
    return known_figures(margins, labels)


def _by_category(truth: list[str], predicted: list[str]) -> tuple[CategoryFigures, ...]:
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


def write_evaluation(evaluation: Evaluation, directory: Path) -> Path:
    """Write `evaluation.json` into a directory, which is made."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "evaluation.json"
    path.write_text(json.dumps(evaluation.as_dict(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path
