"""Accuracy of a frozen base by the side of its input, and the time of a query: cross-validated.

All photos, of both splits, are divided into five folds, photos of one shoot into the same one (`--plain`: each by
itself); the folds of the first side hold for all. Each photo is classified by a head that the indexer trains on the
other folds (EfficientNet-Lite0, frozen, two augmented copies). Sides are compared with the first one on the same
photos, by McNemar's exact test. A query is decoded and embedded on one thread; sides take turns.
"""

import argparse
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.model_selection import StratifiedKFold

from benchmarks.harness.embedded_photos import embed_photos, open_lite0, subset
from benchmarks.harness.options import option_parser
from benchmarks.harness.photos import list_photos, sample
from benchmarks.harness.rows import print_records, store
from indexer.classifier.held_out import HeldOut
from indexer.classifier.train import train_classifier
from indexer.console.progress import SilentReporter
from indexer.embedding.augmentation import Augmentation
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.evaluation.retrieval_metrics import interval
from indexer.groups.catalogue_folds import CatalogueFolds
from indexer.groups.folds import N_FOLDS, NO_FOLD
from shared.images.decode import decode_image
from shared.images.limits import ImageLimits
from shared.images.preprocessing import Preprocessing, to_pixels
from shared.model.embedder import LiteRtEmbedder

_SIDES = (224, 256, 288)
_QUERIES = 300


def main() -> None:
    """Embed at every side, cross-validate with every seed, time queries, print and store."""
    parser = option_parser("quality.input_side", __doc__)
    parser.add_argument("--sides", type=_sides, default=_SIDES, help="sides in pixels (default: 224,256,288)")
    parser.add_argument("--seeds", type=int, default=1, help="number of divisions into folds (default: 1)")
    parser.add_argument("--plain", action="store_true", help="divide photos by themselves, not in groups")
    options = parser.parse_args()
    photos = list_photos(options.photos)
    photos = sample(photos, 400) if options.smoke else photos
    embedders = {side: open_lite0(side) for side in options.sides}
    copies = Augmentation().copies
    embedded = {side: embed_photos(photos, options.photos, one, copies) for side, one in embedders.items()}
    first = options.sides[0]
    rows = []
    for seed in range(options.seeds):
        folds = _folds(embedded[first], seed, options.plain)
        correct = {side: _correct(one, folds, seed) for side, one in embedded.items()}
        rows += [{"side": str(side), "seed": seed, **_compared(correct[side], correct[first])} for side in embedders]
    queries = [photo.path for photo in sample(photos, 20 if options.smoke else _QUERIES)]
    times = _query_ms(embedders, queries)
    kind = "each by itself" if options.plain else "in groups"
    print_records(f"{len(photos)} photos in {N_FOLDS} folds, {kind}", rows)
    print_records(f"{len(queries)} queries, one thread", times)
    store("input_side", options.smoke, {"photos": len(photos), "plain": options.plain, "rows": rows, "queries": times})


def _sides(text: str) -> tuple[int, ...]:
    try:
        return tuple(Preprocessing(int(part)).side_px for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def _folds(embedded: EmbeddedCatalogue, seed: int, is_plain: bool) -> NDArray[np.int64]:
    """`(n_photos,)` int64: the fold of each photo, or `NO_FOLD` for photos that are always learned."""
    if not is_plain:
        return CatalogueFolds(embedded, None, seed).numbers
    truth = embedded.columns(np.arange(len(embedded.digests)), embedded.categories)
    folds = np.full(len(truth), NO_FOLD)
    splits = StratifiedKFold(N_FOLDS, shuffle=True, random_state=seed).split(truth, truth)
    for number, (_, tested) in enumerate(splits):
        folds[tested] = number
    return folds


def _correct(embedded: EmbeddedCatalogue, folds: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """`(n_tested,)` bool: True for the photos of a fold that are classified correctly."""
    truth = embedded.columns(np.arange(len(folds)), embedded.categories)
    correct = np.zeros(len(folds), dtype=np.bool_)
    for fold in range(N_FOLDS):
        keras.utils.clear_session()  # what earlier folds left
        tested = np.flatnonzero(folds == fold)
        part = subset(embedded, np.flatnonzero(folds != fold))
        with SilentReporter().stage("") as stage:
            head = train_classifier(HeldOut.of(CatalogueFolds(part, None, seed)), seed, stage).heads.served
        assert head.categories == embedded.categories
        correct[tested] = head.probabilities(embedded.originals_of(tested)).argmax(axis=1) == truth[tested]
    judged: NDArray[np.bool_] = correct[folds != NO_FOLD]
    return judged


def _compared(correct: NDArray[np.bool_], first: NDArray[np.bool_]) -> dict[str, Any]:
    """The accuracy, and McNemar's exact test against the first side."""
    accuracy = float(correct.mean())
    low, high = interval(accuracy, len(correct))
    won, lost = int((correct & ~first).sum()), int((first & ~correct).sum())
    return {
        "category_accuracy": accuracy,
        "from": low,
        "to": high,
        "won": won,
        "lost": lost,
        "p": float(binomtest(won, won + lost).pvalue) if won + lost else 1.0,
    }


def _query_ms(embedders: Mapping[int, LiteRtEmbedder], queries: Sequence[Path]) -> list[dict[str, Any]]:
    """Median milliseconds of decoding and of the forward pass, in one process and on one thread."""
    decoding: dict[int, list[float]] = {side: [] for side in embedders}
    forward: dict[int, list[float]] = {side: [] for side in embedders}
    sides = list(embedders)
    for number, path in enumerate(queries):
        data = path.read_bytes()
        decode_image(data, ImageLimits())  # the first of a photo pays for cold caches
        for side in np.roll(sides, number).tolist():
            started = time.perf_counter()
            image = decode_image(data, ImageLimits(), preprocessing=Preprocessing(side))
            pixels = to_pixels(image, side)[np.newaxis]
            decoded = time.perf_counter()
            embedders[side].embed(pixels)
            decoding[side].append(decoded - started)
            forward[side].append(time.perf_counter() - decoded)
    return [
        {
            "side": str(side),
            "decode, ms": 1000 * float(np.median(decoding[side])),
            "forward, ms": 1000 * float(np.median(forward[side])),
            "query, ms": 1000 * float(np.median(np.add(decoding[side], forward[side]))),
        }
        for side in embedders
    ]


if __name__ == "__main__":
    main()
