"""A build's own estimate against the truth on photos from elsewhere: accuracy, calibration, `probe: auto`.

The catalogue's photos are divided into folds, photos of one shoot into the same one, and heads are trained, as a build
does (EfficientNet-Lite0, frozen, two augmented copies), for several seeds. The head that is served is then evaluated on
photos that are not in the catalogue. Intervals are for 95 %: those of the claim are over groups.
"""

import os
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np

from benchmarks.harness.embedded_photos import embed_entries, open_lite0
from benchmarks.harness.options import option_parser
from benchmarks.harness.rows import print_records, store
from indexer.classifier.held_out import HeldOut
from indexer.classifier.metrics import category_accuracy_at, expected_calibration_error, probe_auto
from indexer.classifier.train import train_classifier
from indexer.console.progress import SilentReporter
from indexer.embedding.augmentation import Augmentation
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.evaluation.retrieval_metrics import share_interval
from indexer.groups.catalogue_folds import CatalogueFolds
from shared.images.preprocessing import DEFAULT_SIDE_PX
from shared.model.classifier import PROBE_COVERAGE


def main() -> None:
    """Embed both once, train with every seed, print and store."""
    parser = option_parser("quality.unseen", __doc__)
    parser.add_argument("--catalogue", type=Path, help="folders, CSV or JSON lines (default: train/ in --photos)")
    parser.add_argument("--unseen", type=Path, help="the same, of photos from elsewhere (default: validation/)")
    parser.add_argument("--side", type=int, default=DEFAULT_SIDE_PX, help="side of the network's input in pixels")
    options = parser.parse_args()
    paths = [options.catalogue, options.unseen]
    if options.photos is not None:
        paths = [given or options.photos / name for given, name in zip(paths, ("train", "validation"), strict=True)]
    if None in paths:
        raise SystemExit("give --photos DIR, or --catalogue PATH and --unseen PATH")
    embedder, limit = open_lite0(options.side), 400 if options.smoke else None
    catalogue, unseen = (embed_entries(path, embedder, Augmentation().copies, limit) for path in paths)
    rows = [_figures(catalogue, unseen, seed) for seed in range(1 if options.smoke else 3)]
    mean = {name: float(np.mean([row[name] for row in rows])) for name in rows[0] if name != "seed"}
    title = f"{len(catalogue.digests)} photos indexed, {len(unseen.digests)} from elsewhere, side {options.side}"
    print_records(title, [*rows, {"seed": "mean", **mean}])
    store("unseen", options.smoke, {"paths": [str(path) for path in paths], "side": options.side, "seeds": rows})


def _figures(catalogue: EmbeddedCatalogue, unseen: EmbeddedCatalogue, seed: int) -> dict[str, Any]:
    keras.utils.clear_session()  # what earlier trainings left
    held_out = HeldOut.of(CatalogueFolds(catalogue, None, seed))
    with SilentReporter().stage("") as stage:
        heads, _, claimed_by_random_split = train_classifier(held_out, seed, stage)
    images = np.arange(len(unseen.digests))
    truth = unseen.columns(images, heads.served.categories)
    probabilities = heads.served.probabilities(unseen.originals_of(images))
    covered, searched = probe_auto(heads.served, probabilities, truth, PROBE_COVERAGE)
    low, high = share_interval(probabilities.argmax(axis=1) == truth, None)
    covered_low, covered_high = share_interval(covered, None)
    return {
        "seed": str(seed),
        "groups": held_out.n_groups,
        "claimed": held_out.category_accuracy(heads),
        "± over groups": held_out.accuracy_margin(heads) or 0.0,
        "random split": claimed_by_random_split,
        "truth": category_accuracy_at(1, probabilities, truth),
        "from": low,
        "to": high,
        "auto": float(covered.mean()),
        "auto from": covered_low,
        "auto to": covered_high,
        "partitions": float(searched.mean()),
        "ECE": expected_calibration_error(probabilities, truth),
        "ECE, cross-validated": held_out.calibration_error(heads),
    }


if __name__ == "__main__":
    main()
