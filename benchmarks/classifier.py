"""What each of the head's choices brings: one is changed at a time, the others stay as the indexer has them.

The indexer's own training runs on embeddings of the training photos (EfficientNet-Lite0, four augmented copies, of
which a run may use fewer), several times with different seeds; the validation photos, which it never sees, judge it:
accuracy, the mean accuracy over the categories, and the calibration error after the temperature. The differences from
the indexer's choice are paired by seed.
"""

import logging
import os
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any
from unittest import mock

# TensorFlow's start-up notes are no result.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from benchmarks.harness.embedded_photos import embed_photos, open_lite0
from benchmarks.harness.options import option_parser
from benchmarks.harness.photos import list_photos, sample
from benchmarks.harness.rows import print_records, store
from indexer.classifier import train as train_classifier
from indexer.classifier.held_out import HeldOut
from indexer.console.progress import SilentReporter
from indexer.embedding.augmentation import Augmentation
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.evaluation.retrieval_metrics import category_accuracy_at, expected_calibration_error

_MOST_COPIES = 4
_CONSTANTS = {
    "_DROPOUT": (0.0, 0.3, 0.5, 0.7),
    "_INPUT_SCALE": (1.0, 0.3, 0.1),
    "_LEARNING_RATE": (1e-3, 3e-3),
}
_SMOKE_EPOCHS = 3
_DEFAULT = "as the indexer has it"


@dataclass(frozen=True)
class Choice:
    """How one run differs from the indexer's way.

    Attributes:
        copies: augmented copies that are trained on.
        change: what holds while it trains.
    """

    copies: int = Augmentation().copies
    change: Callable[[], AbstractContextManager[Any]] = nullcontext


@dataclass(frozen=True)
class Trained:
    """One trained head.

    Attributes:
        category_accuracy: on the validation photos.
        mean_category_accuracy: the mean over the categories, so that rare ones count as much.
        expected_calibration_error: on the validation photos.
        held_out_accuracy: on what the indexer held out.
        epochs: trained.
        seconds: of training.
    """

    category_accuracy: float
    mean_category_accuracy: float
    expected_calibration_error: float
    held_out_accuracy: float
    epochs: float
    seconds: float


def _unweighted(model: Any, *values: Any, **named: Any) -> Any:
    """As `fit`, but the class weights that the training code hands over are ignored."""
    return _FIT(model, *values, **{**named, "class_weight": None})


_FIT = keras.Sequential.fit


def _constant(name: str, value: float) -> Choice:
    return Choice(change=lambda: mock.patch.object(train_classifier, name, value))


def _choices() -> dict[str, Choice]:
    """The indexer's own choice first, then every other one."""
    copies = {str(number): Choice(copies=number) for number in (0, 1, 2, 4) if number != Choice().copies}
    choices = {_DEFAULT: Choice(), **{f"copies: {number}": choice for number, choice in copies.items()}}
    for name, values in _CONSTANTS.items():
        others = [value for value in values if value != getattr(train_classifier, name)]
        choices |= {f"{_shown(name)}: {value}": _constant(name, value) for value in others}
    choices["no class weights"] = Choice(change=lambda: mock.patch.object(keras.Sequential, "fit", _unweighted))
    return choices


def _shown(constant: str) -> str:
    return constant.strip("_").lower().replace("_", " ")


def main() -> None:
    """Embed once, train every choice with every seed, print and store."""
    options = option_parser("classifier", __doc__).parse_args()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # many trainings in one process are meant
    seeds = range(1 if options.smoke else 5)
    train, judges = list_photos(options.photos, "train"), list_photos(options.photos, "validation")
    if options.smoke:
        train, judges = sample(train, 150), sample(judges, 100)
    embedder = open_lite0()
    embedded = embed_photos(train, options.photos, embedder, _MOST_COPIES)
    judging = embed_photos(judges, options.photos, embedder, 0)
    epochs = _SMOKE_EPOCHS if options.smoke else train_classifier._MAX_EPOCHS
    with mock.patch.object(train_classifier, "_MAX_EPOCHS", epochs):
        trained = {
            name: [_train(embedded, judging, choice, seed) for seed in seeds] for name, choice in _choices().items()
        }
    own = {_shown(name): getattr(train_classifier, name) for name in _CONSTANTS}
    print(f"\nthe indexer has: copies {Choice().copies}, {', '.join(f'{name} {value}' for name, value in own.items())}")
    rows = [{"choice": name, **_summary(runs, trained[_DEFAULT])} for name, runs in trained.items()]
    print_records(f"{len(train)} photos, judged by {len(judges)}; means over {len(seeds)} seeds", rows)
    store("classifier", options.smoke, {"photos": len(train), "seeds": len(seeds), "own": own, "choices": rows})


def _train(embedded: EmbeddedCatalogue, judging: EmbeddedCatalogue, choice: Choice, seed: int) -> Trained:
    # A copy depends on its number, not on how many there are: the first two of four are those of two.
    views = embedded.views[np.arange(len(embedded.digests))][:, : 1 + choice.copies]
    learned = replace(embedded, views=views)
    held_out = HeldOut.of(learned, seed)
    keras.utils.clear_session()  # what earlier runs left
    started = time.perf_counter()
    with choice.change(), SilentReporter().stage("") as stage:
        heads, epochs = train_classifier.train_classifier(learned, held_out, seed, stage)
    seconds = time.perf_counter() - started
    truth = judging.columns(np.arange(len(judging.image_items)), heads.served.categories)
    probabilities = heads.served.probabilities(judging.originals)
    right = probabilities.argmax(axis=1) == truth
    return Trained(
        category_accuracy=category_accuracy_at(1, probabilities, truth),
        mean_category_accuracy=float(np.mean([right[truth == label].mean() for label in np.unique(truth)])),
        expected_calibration_error=expected_calibration_error(probabilities, truth),
        held_out_accuracy=held_out.category_accuracy(heads.judged) or 0.0,
        epochs=epochs,
        seconds=seconds,
    )


def _summary(runs: Sequence[Trained], default: Sequence[Trained]) -> dict[str, float]:
    """Means over the seeds, and how far the accuracy lies from the default's, with its standard error over seeds."""
    gains = [run.category_accuracy - other.category_accuracy for run, other in zip(runs, default, strict=True)]
    means = {name: statistics.mean(asdict(run)[name] for run in runs) for name in asdict(runs[0])}
    error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else 0.0
    return {**means, "gain": statistics.mean(gains), "standard_error": error}


if __name__ == "__main__":
    main()
