"""OOD detection: queries that show none of the catalogue's categories, and those that do.

EfficientNet-Lite0 and the indexer's own training and rule, on the clothing photos. The rule is fitted on what the
indexer holds out; the validation photos are the known queries.

- Far: the rendered sample catalogue (bicycles, mice, watches, keyboards), and three photos that scikit-learn and
  Matplotlib ship; means over three seeds.
- Near: for every pair of categories, a head is trained without the two, whose validation photos are then unknown; means
  over the pairs.

For each: the area under the ROC curve of single signals (`ood_signals.py` has those that are not shipped), of
sums that are standardised, and of the margin (that of all five, less the category's threshold); the shares of known
queries rejected and of unknown ones detected, also by the rule for a base without known classes (log odds and cosine).
"""

import logging
import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import combinations
from pathlib import Path
from unittest import mock

# TensorFlow's start-up messages are not a result.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import matplotlib
import numpy as np
import sklearn
from numpy.typing import NDArray

from benchmarks.harness.embedded_photos import embed_photos, open_lite0, subset
from benchmarks.harness.options import option_parser
from benchmarks.harness.photos import Photo, list_photos, sample
from benchmarks.harness.rows import print_records, store
from benchmarks.quality.ood_signals import CandidateSignals
from examples.sample_catalogue.render import render_catalogue
from indexer.backbone.efficientnet_lite0 import imagenet_classes, weights_path
from indexer.classifier import softmax_head
from indexer.classifier import train as train_classifier
from indexer.classifier.fit_ood_rule import fit_ood_rule
from indexer.classifier.held_out import HeldOut
from indexer.console.progress import SilentReporter
from indexer.embedding.augmentation import Augmentation
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.evaluation.retrieval_metrics import auroc, ood_figures
from indexer.groups.catalogue_folds import CatalogueFolds
from shared.index.partition import Partition
from shared.model.energy_score import EnergyScore
from shared.model.ood_rule import (
    NEIGHBOURS,
    OodRule,
    mean_cosine,
    signals,
)
from shared.vectors import Vectors

_SEEDS = 3
_SMOKE_EPOCHS = 3
_SHIPPED = (
    Path(sklearn.__file__).parent / "datasets" / "images" / "china.jpg",
    Path(sklearn.__file__).parent / "datasets" / "images" / "flower.jpg",
    Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg",
)

Figures = dict[str, float]


class _Detector:
    """A head and its rule, of a part of the training photos."""

    def __init__(self, embedded: EmbeddedCatalogue, seed: int) -> None:
        keras.utils.clear_session()  # what earlier trainings left
        held_out = HeldOut.of(CatalogueFolds(embedded, None, seed))
        with SilentReporter().stage("") as stage:
            self._heads = train_classifier.train_classifier(held_out, seed, stage).heads
        self.classifier = self._heads.served
        self._partitions = _partitions(embedded)
        self.rule = self._rule(held_out, imagenet_classes(weights_path()))
        self.plain = self._rule(held_out, None)
        images = np.flatnonzero(held_out.folds.numbers != 0)
        self._tried = CandidateSignals(embedded.originals_of(images), embedded.columns(images, embedded.categories))
        self._all = embedded.originals, embedded.columns(np.arange(len(embedded.digests)), embedded.categories)

    def _rule(self, held_out: HeldOut, pretrained: EnergyScore | None) -> OodRule:
        rule = fit_ood_rule(self._heads, held_out, self._partitions.__getitem__, pretrained)
        assert rule is not None
        return rule

    def figures(self, known: Vectors, unknown: Vectors) -> Figures:
        """AUROC and shares; `known` and `unknown` are `(n, dim)`."""
        of_known, of_unknown = self._signals(known), self._signals(unknown)
        areas = {f"AUROC of {name}": auroc(of_known[name], of_unknown[name]) for name in of_known}
        truth = np.repeat([0, -1], [len(known), len(unknown)])
        for name, kind in (("margin", ""), ("margin without the energy score", ", without the energy score")):
            figures = ood_figures(np.concatenate([of_known[name], of_unknown[name]]), truth)
            areas[f"in-distribution rejected{kind}"] = 1 - (figures.known_share or 0.0)
            areas[f"OOD detected{kind}"] = figures.unknown_detected or 0.0
        return areas

    def _signals(self, queries: Vectors) -> dict[str, NDArray[np.float64]]:
        """By name, `(n,)`: the higher, the more a query looks in-distribution."""
        logits = self.classifier.logits(queries)
        columns = logits.argmax(axis=1)
        cosines = np.array([self._cosine(query, int(column)) for query, column in zip(queries, columns, strict=True)])
        single = signals(queries, logits, columns, cosines, self.rule.energy_score)
        standardised = (single - self.rule.means) / self.rule.stds
        margins = self.rule.margins(queries, logits, columns, cosines)
        plain = self.plain.margins(queries, logits, columns, cosines)
        largest_and_cosine = standardised[:, 1] + standardised[:, 2]
        return {
            "log odds": single[:, 0],
            "cosine": single[:, 1],
            "largest logit": single[:, 2],
            "its lead": single[:, 3],
            "negated energy score of the base": -single[:, 4],
            "energy": np.logaddexp.reduce(logits.astype(np.float64), axis=1),
            "nearness against other categories": cosines - self._nearest_of_others(queries, columns),
            **self._tried.of(queries),
            "largest logit and cosine": largest_and_cosine,
            "log odds and cosine": plain + self.plain.thresholds[columns],
            "all but the energy score": standardised[:, :4] @ self.rule.weights[:4],
            "all five": margins + self.rule.thresholds[columns],
            "margin without the energy score": plain,
            "margin": margins,
        }

    def _nearest_of_others(self, queries: Vectors, columns: NDArray[np.int64]) -> NDArray[np.float64]:
        """`(n,)`: the mean cosine of the nearest items that are not of the predicted category."""
        embeddings, labels = self._all
        cosines = np.where(labels == columns[:, np.newaxis], -1, queries @ embeddings.T)
        nearest: NDArray[np.float64] = np.sort(cosines, axis=1)[:, -NEIGHBOURS:].mean(axis=1, dtype=np.float64)
        return nearest

    def _cosine(self, query: Vectors, column: int) -> float:
        partition = self._partitions[self.classifier.categories[column]]
        return mean_cosine(partition.search(query[np.newaxis], NEIGHBOURS)[0])


def main() -> None:
    """Embed once, train for every seed and every pair, print and store."""
    options = option_parser("quality.ood_detection", __doc__).parse_args()
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # many trainings in one process are meant
    train, validation = list_photos(options.photos, "train"), list_photos(options.photos, "validation")
    if options.smoke:
        train, validation = sample(train, 600), sample(validation, 100)
    embedder = open_lite0()
    with tempfile.TemporaryDirectory(prefix="parecido-benchmark-") as directory, ExitStack() as stack:
        if options.smoke:
            stack.enter_context(mock.patch.object(softmax_head, "MAX_EPOCHS", _SMOKE_EPOCHS))
        others = _others(Path(directory), 1 if options.smoke else 64)
        learned = embed_photos(train, options.photos, embedder, Augmentation().copies)
        queries = embed_photos(validation, options.photos, embedder, 0)
        foreign = embed_photos(others, Path("/"), embedder, 0)
        far = [_Detector(learned, seed).figures(queries.originals, foreign.originals) for seed in range(_SEEDS)]
        pairs = list(combinations(learned.categories, 2))[: 1 if options.smoke else None]
        near = {" and ".join(pair): _without(pair, learned, queries) for pair in pairs}
    means = {f"far: {len(others)} pictures": _mean(far), f"near: {len(pairs)} pairs": _mean(list(near.values()))}
    figures = [{"figure": name, **{kind: mean[name] for kind, mean in means.items()}} for name in far[0]]
    print_records(f"Known: {len(validation)} photos", figures)
    shown = ("AUROC of margin", "in-distribution rejected", "OOD detected")
    print_records(
        "Each pair", [{"left out": pair, **{name: one[name] for name in shown}} for pair, one in near.items()]
    )
    store("known", options.smoke, {"far": far, "near": near, "means": means})


def _without(pair: Sequence[str], learned: EmbeddedCatalogue, queries: EmbeddedCatalogue) -> Figures:
    """A head that has never seen these two categories."""
    left_out = np.array([queries.items[number].category in pair for number in queries.image_items])
    print(f"without {' and '.join(pair)}", flush=True)
    return _Detector(_part(learned, pair), 0).figures(queries.originals[~left_out], queries.originals[left_out])


def _part(embedded: EmbeddedCatalogue, left_out: Sequence[str]) -> EmbeddedCatalogue:
    """The items of other categories; each has one image."""
    kept = np.array([number for number, item in enumerate(embedded.items) if item.category not in left_out])
    return subset(embedded, kept)


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
