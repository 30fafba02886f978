"""What a kernel head would bring over the indexer's linear one, with the frozen base, and what it would cost a query.

All photos, of both splits, are divided into five folds. On four of them are made: the indexer's head; ridge regression
with the kernel exp(g (cosine - 1)) on the originals, which compares a query with every photo that was learned, whatever
its category; and a sum of both, weighed by the held-out photos. Each is judged on the fifth, with the temperature that
suits the held-out photos.
"""

import os
import time
from collections.abc import Callable, Mapping

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from benchmarks.harness.embedded_photos import embed_photos, open_lite0, some_of
from benchmarks.harness.options import option_parser
from benchmarks.harness.photos import list_photos, sample
from benchmarks.harness.rows import print_records, store
from indexer.classifier.calibration import fit_temperature
from indexer.classifier.held_out import HeldOut
from indexer.classifier.train import train_classifier
from indexer.console.progress import SilentReporter
from indexer.embedding.augmentation import Augmentation
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from shared.model.classifier import softmax
from shared.vectors import Vectors

_FOLDS = 5
_SHARPNESSES = (1.5, 3.0)
_RIDGE = 0.05
_WEIGHTS = (0.0, 4.0, 8.0, 16.0, 32.0)
_TIMED = 100

Head = Callable[[Vectors], NDArray[np.float32]]
"""`(n, dim)` unit rows → `(n, n_categories)` logits."""


def main() -> None:
    """Embed once, cross-validate, print and store."""
    options = option_parser("kernel_head", __doc__).parse_args()
    photos = sample(list_photos(options.photos), 400) if options.smoke else list_photos(options.photos)
    embedded = embed_photos(photos, options.photos, open_lite0(), Augmentation().copies)
    truth = embedded.columns(np.arange(len(photos)), embedded.categories)
    seeds = range(1 if options.smoke else 2)
    judged: dict[str, list[Mapping[str, float]]] = {}
    for seed in seeds:
        folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=seed).split(truth, truth)
        for learned, others in folds:
            for name, figures in _judged(some_of(embedded, learned), embedded, others, seed).items():
                judged.setdefault(name, []).append(figures)
    rows = [
        {"head": name, **{key: float(np.mean([one[key] for one in runs])) for key in runs[0]}}
        for name, runs in judged.items()
    ]
    print_records(f"{len(photos)} photos in {_FOLDS} folds, means over {len(seeds)} seeds", rows)
    store("kernel_head", options.smoke, {"photos": len(photos), "rows": rows})


def _judged(
    part: EmbeddedCatalogue, embedded: EmbeddedCatalogue, others: NDArray[np.int64], seed: int
) -> dict[str, dict[str, float]]:
    held_out = HeldOut.of(part, seed)
    held, held_labels = held_out.originals, held_out.columns(part.categories)
    queries, labels = embedded.originals_of(others), embedded.columns(others, part.categories)
    return {name: _figures(head, held, held_labels, queries, labels) for name, head in _heads(part, held_out, seed)}


def _heads(part: EmbeddedCatalogue, held_out: HeldOut, seed: int) -> list[tuple[str, Head]]:
    keras.utils.clear_session()  # what earlier ones left
    with SilentReporter().stage("") as stage:
        linear = train_classifier(part, held_out, seed, stage)[0].judged.logits
    learned = np.flatnonzero(~held_out.items[part.image_items])
    embeddings, labels = part.originals_of(learned), part.columns(learned, part.categories)
    heads: list[tuple[str, Head]] = [("the indexer's", linear)]
    for sharpness in _SHARPNESSES:
        kernel = _kernel_head(embeddings, labels, sharpness)
        heads.append((f"kernel, g {sharpness:g}", kernel))
        heads.append((f"the indexer's and the kernel, g {sharpness:g}", _best_sum(linear, kernel, held_out)))
    return heads


def _kernel_head(embeddings: Vectors, labels: NDArray[np.int64], sharpness: float) -> Head:
    counts = np.bincount(labels)
    ridge = _RIDGE * counts[labels] * (1 / counts[labels]).mean()  # each category weighs the same
    kernel = np.exp(sharpness * (embeddings @ embeddings.T - 1)).astype(np.float64)
    dual = np.linalg.solve(kernel + np.diag(ridge), np.eye(len(counts))[labels] - 1 / len(counts)).astype(np.float32)

    def head(queries: Vectors) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = np.exp(np.float32(sharpness) * (queries @ embeddings.T - 1)) @ dual
        return logits

    return head


def _best_sum(one: Head, other: Head, held_out: HeldOut) -> Head:
    """Weighed by the loss on held-out photos."""
    images, labels = held_out.originals, held_out.columns(held_out.embedded.categories)
    first, second = one(images), other(images)
    weight = min(_WEIGHTS, key=lambda tried: _loss(first + np.float32(tried) * second, labels, None))
    return lambda queries: one(queries) + np.float32(weight) * other(queries)


def _loss(logits: NDArray[np.float32], labels: NDArray[np.int64], temperature: float | None) -> float:
    """Mean negative log likelihood, by the best temperature where none is given."""
    used = fit_temperature(logits, labels) if temperature is None else temperature
    probabilities = softmax(logits / np.float32(used))
    return float(-np.log(probabilities[np.arange(len(labels)), labels] + 1e-12).mean())


def _figures(
    head: Head, held: Vectors, held_labels: NDArray[np.int64], queries: Vectors, labels: NDArray[np.int64]
) -> dict[str, float]:
    raised = np.float32(
        1 / max(float(head(held).std()), 1e-9)
    )  # so that the temperature lies in the range that is searched
    temperature = fit_temperature(head(held) * raised, held_labels)
    logits = head(queries) * raised
    started = time.perf_counter()
    for query in queries[:_TIMED]:
        head(query[np.newaxis])
    return {
        "category_accuracy": float((logits.argmax(axis=1) == labels).mean()),
        "log loss": _loss(logits, labels, temperature),
        "ms a query": 1e3 * (time.perf_counter() - started) / min(_TIMED, len(queries)),
    }


if __name__ == "__main__":
    main()
