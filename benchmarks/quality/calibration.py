"""Confidence against accuracy of the classifier, and coverage of `probe: auto`: cross-validated.

All photos, of both splits, are divided into five folds; each is classified by a head that the indexer trains on the
other four (EfficientNet-Lite0, frozen, two augmented copies), several times over with other seeds.
"""

import os
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from benchmarks.harness.embedded_photos import embed_photos, open_lite0, subset
from benchmarks.harness.options import option_parser
from benchmarks.harness.photos import list_photos, sample
from benchmarks.harness.rows import print_records, store
from indexer.classifier.held_out import HeldOut
from indexer.classifier.metrics import category_accuracy_at, expected_calibration_error
from indexer.classifier.train import train_classifier
from indexer.console.progress import SilentReporter
from indexer.embedding.augmentation import Augmentation
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.evaluation.retrieval_metrics import interval
from indexer.groups.catalogue_folds import CatalogueFolds
from shared.model.classifier import PROBE_COVERAGE, n_covering, ranking

_FOLDS = 5


def main() -> None:
    """Embed once, cross-validate with every seed, print and store."""
    options = option_parser("quality.calibration", __doc__).parse_args()
    seeds = range(1 if options.smoke else 3)
    photos = sample(list_photos(options.photos), 400) if options.smoke else list_photos(options.photos)
    embedder = open_lite0()
    embedded = embed_photos(photos, options.photos, embedder, Augmentation().copies)
    rows = [{"seed": str(seed), **_figures(embedded, seed)} for seed in seeds]
    mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0] if name != "seed"}
    print_records(f"{len(photos)} photos in {_FOLDS} folds", [*rows, {"seed": "mean", **mean}])
    for name in ("category_accuracy", "probe_auto_coverage"):
        low, high = interval(mean[name], len(photos))
        print(f"{name}: {mean[name]:.4f}, 95 % interval {low:.4f} to {high:.4f}")
    store("calibration", options.smoke, {"photos": len(photos), "seeds": rows, "mean": mean})


def _figures(embedded: EmbeddedCatalogue, seed: int) -> dict[str, Any]:
    truth = embedded.columns(np.arange(len(embedded.digests)), embedded.categories)
    probabilities = np.zeros((len(truth), len(embedded.categories)), np.float32)
    counts = {"auto": np.zeros(len(truth)), "adding up": np.zeros(len(truth))}
    for learned, tested in _folds(truth, seed):
        keras.utils.clear_session()  # what earlier folds left
        part = subset(embedded, learned)
        with SilentReporter().stage("") as stage:
            head = train_classifier(HeldOut.of(CatalogueFolds(part, None, seed)), seed, stage).heads.served
        assert head.categories == embedded.categories
        predicted = probabilities[tested] = head.probabilities(embedded.originals_of(tested))
        counts["auto"][tested] = [head.n_likely(row, PROBE_COVERAGE) for row in predicted]
        counts["adding up"][tested] = [n_covering(row, PROBE_COVERAGE) for row in predicted]
    position = np.argmax(ranking(probabilities) == truth[:, np.newaxis], axis=1)
    return {
        "category_accuracy": category_accuracy_at(1, probabilities, truth),
        "expected_calibration_error": expected_calibration_error(probabilities, truth),
        "probe_auto_coverage": float((position < counts["auto"]).mean()),
        "probe_auto_partitions": float(counts["auto"].mean()),
        "coverage where probabilities add up to it": float((position < counts["adding up"]).mean()),
        "its partitions": float(counts["adding up"].mean()),
    }


def _folds(truth: NDArray[np.int64], seed: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    yield from StratifiedKFold(_FOLDS, shuffle=True, random_state=seed).split(truth, truth)


if __name__ == "__main__":
    main()
