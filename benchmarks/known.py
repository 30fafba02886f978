"""Whether queries that show none of the catalogue's categories are told from those that do.

EfficientNet-Lite0 and the indexer's own training and rule, on the clothing photos. The rule is fitted on what the
indexer holds out; the validation photos are the known queries.

- Far: the rendered sample catalogue (bicycles, mice, watches, keyboards), and three photos that scikit-learn and
  Matplotlib ship; means over three seeds.
- Near: for every pair of categories, a head is trained without the two, whose validation photos are then unknown; means
  over the pairs.

For each: the area under the ROC curve of single signs, of sums of two that are standardised, and of `known_score` (log
odds and cosine, less the category's threshold); the shares of known queries rejected and of unknown ones found.
"""

import logging
import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path
from unittest import mock

# TensorFlow's start-up notes are no result.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import matplotlib
import numpy as np
import sklearn
from numpy.typing import NDArray

from benchmarks.embedded_photos import embed_photos, open_lite0, some_of
from benchmarks.options import option_parser
from benchmarks.photos import Photo, list_photos, sample
from benchmarks.rows import print_records, store
from examples.sample_catalogue.render import render_catalogue
from indexer import train_classifier
from indexer.augment import Augmentation
from indexer.embed import EmbeddedCatalogue
from indexer.fit_known import fit_known
from indexer.held_out import HeldOut
from indexer.metrics import auroc, known_figures
from indexer.report import SilentReporter
from shared.known import NEIGHBOURS, KnownRule, log_odds, mean_cosine
from shared.partition import Partition
from shared.vectors import Vectors

_SEEDS = 3
_SMOKE_EPOCHS = 3
_SHIPPED = (
    Path(sklearn.__file__).parent / "datasets" / "images" / "china.jpg",
    Path(sklearn.__file__).parent / "datasets" / "images" / "flower.jpg",
    Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg",
)

Figures = dict[str, float]


class Judge:
    """A head and its rule, of a part of the training photos."""

    def __init__(self, embedded: EmbeddedCatalogue, seed: int) -> None:
        keras.utils.clear_session()  # what earlier trainings left
        held_out = HeldOut.of(embedded, seed)
        with SilentReporter().stage("") as stage:
            self.classifier, _ = train_classifier.train_classifier(embedded, held_out, seed, stage)
        self._partitions = _partitions(embedded)
        rule = fit_known(self.classifier, held_out, self._partitions.__getitem__)
        assert rule is not None
        self.rule: KnownRule = rule
        largest = self.classifier.logits(held_out.originals).max(axis=1)
        self._largest_mean, self._largest_std = largest.mean(), largest.std()

    def figures(self, known: Vectors, unknown: Vectors) -> Figures:
        """How well the queries are told apart; both `(n, dim)`."""
        signs, others = self._signs(known), self._signs(unknown)
        margins = np.concatenate([signs["known_score"], others["known_score"]])
        found = known_figures(margins, np.repeat([0, -1], [len(known), len(unknown)]))
        areas = {f"AUROC of {name}": auroc(signs[name], others[name]) for name in signs}
        return {
            **areas,
            "known rejected": 1 - (found.known_share or 0.0),
            "unknown found": found.unknown_detected or 0.0,
        }

    def _signs(self, queries: Vectors) -> dict[str, NDArray[np.float64]]:
        """By name, `(n,)`: the higher, the more a query seems to be known."""
        logits = self.classifier.logits(queries)
        columns = logits.argmax(axis=1)
        cosines = np.array([self._cosine(query, int(column)) for query, column in zip(queries, columns, strict=True)])
        margins = self.rule.margins(logits, columns, cosines)
        largest = logits.max(axis=1).astype(np.float64)
        standardised = (largest - self._largest_mean) / self._largest_std
        return {
            "largest logit": largest,
            "log odds": log_odds(logits, columns),
            "cosine": cosines,
            "largest logit and cosine": standardised + (cosines - self.rule.means[1]) / self.rule.stds[1],
            "log odds and cosine": margins + self.rule.thresholds[columns],
            "known_score": margins,
        }

    def _cosine(self, query: Vectors, column: int) -> float:
        partition = self._partitions[self.classifier.categories[column]]
        return mean_cosine(partition.search(query[np.newaxis], NEIGHBOURS)[0])


def main() -> None:
    """Embed once, train for every seed and every pair, print and store."""
    options = option_parser("known", __doc__).parse_args()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # many trainings in one process are meant
    train, validation = list_photos(options.photos, "train"), list_photos(options.photos, "validation")
    if options.smoke:
        train, validation = sample(train, 600), sample(validation, 100)
    embedder = open_lite0()
    with tempfile.TemporaryDirectory(prefix="parecido-benchmark-") as directory, ExitStack() as stack:
        if options.smoke:
            stack.enter_context(mock.patch.object(train_classifier, "_MAX_EPOCHS", _SMOKE_EPOCHS))
        others = _others(Path(directory), 1 if options.smoke else 64)
        learned = embed_photos(train, options.photos, embedder, Augmentation().copies)
        queries = embed_photos(validation, options.photos, embedder, 0)
        foreign = embed_photos(others, Path("/"), embedder, 0)
        far = [Judge(learned, seed).figures(queries.originals, foreign.originals) for seed in range(_SEEDS)]
        pairs = list(combinations(learned.categories, 2))[: 1 if options.smoke else None]
        near = {" and ".join(pair): _without(pair, learned, queries) for pair in pairs}
    means = {f"far: {len(others)} pictures": _mean(far), f"near: {len(pairs)} pairs": _mean(list(near.values()))}
    figures = [{"figure": name, **{kind: mean[name] for kind, mean in means.items()}} for name in far[0]]
    print_records(f"Known: {len(validation)} photos", figures)
    shown = ("AUROC of known_score", "known rejected", "unknown found")
    print_records(
        "Each pair", [{"left out": pair, **{name: one[name] for name in shown}} for pair, one in near.items()]
    )
    store("known", options.smoke, {"far": far, "near": near, "means": means})


def _without(pair: Sequence[str], learned: EmbeddedCatalogue, queries: EmbeddedCatalogue) -> Figures:
    """A head that has never seen these two categories."""
    left_out = np.array([queries.items[number].category in pair for number in queries.image_items])
    print(f"without {' and '.join(pair)}", flush=True)
    return Judge(_part(learned, pair), 0).figures(queries.originals[~left_out], queries.originals[left_out])


def _part(embedded: EmbeddedCatalogue, left_out: Sequence[str]) -> EmbeddedCatalogue:
    """The items of other categories; each has one image."""
    kept = np.array([number for number, item in enumerate(embedded.items) if item.category not in left_out])
    return some_of(embedded, kept)


def _partitions(embedded: EmbeddedCatalogue) -> dict[str, Partition]:
    labels = embedded.columns(np.arange(len(embedded.digests)), embedded.categories)
    found = {}
    for column, category in enumerate(embedded.categories):
        images = np.flatnonzero(labels == column)
        found[category] = Partition.build(category, embedded.originals_of(images), embedded.image_items[images])
    return found


def _others(directory: Path, items: int) -> list[Photo]:
    """Pictures of what the catalogue has nothing of."""
    render_catalogue(directory, items)
    drawn = sorted(directory.rglob("*.jpg"))
    return [Photo(path.resolve(), "other") for path in (*drawn, *_SHIPPED)]


def _mean(found: Sequence[Figures]) -> Figures:
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


if __name__ == "__main__":
    main()
