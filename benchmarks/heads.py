"""Other ways to a category than the indexer's head on one view of the query, with the frozen base.

The training photos are embedded with two augmented copies. With each of several seeds, whose held-out photos are left
out, heads are made of them: the indexer's own, its two parts alone, a vote of the 30 nearest photos, and the indexer's
mixed with that; and the indexer's as it is served, once it has learned the held-out photos too. Each judges the
held-out and the validation photos by one view, by that and its mirror image, and by four views (also four fifths of the
square, and squashed), whose log probabilities are averaged.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.embedded_photos import THREADS, embed_photos, open_lite0
from benchmarks.harness.options import option_parser
from benchmarks.harness.photos import Photo, list_photos, sample
from benchmarks.harness.rows import print_records, store
from benchmarks.squares import square, squashed
from indexer.classifier import train as train_classifier
from indexer.classifier.held_out import HeldOut
from indexer.classifier.lda import discriminant_head
from indexer.console.progress import SilentReporter
from indexer.embedding.augmentation import Augmentation
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.snapshots.classifier_heads import Heads
from shared.images.decode import ImageLimits, decode_image, to_pixels
from shared.model.classifier import Classifier
from shared.model.embedder import LiteRtEmbedder

_NEIGHBOURS = 30
_SHARPNESS = 20
_VIEWS = {"one": [0], "and mirrored": [0, 1], "four": [0, 1, 2, 3]}
_WHITE = (255, 255, 255)
_SERVED = "the indexer's, of all photos"

LogProbabilities = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""`(n, dim)` unit rows → `(n, n_categories)`."""


def main() -> None:
    """Embed once, judge every way with every seed, print and store."""
    options = option_parser("heads", __doc__).parse_args()
    seeds = range(1 if options.smoke else 4)
    train, judges = list_photos(options.photos, "train"), list_photos(options.photos, "validation")
    if options.smoke:
        train, judges = sample(train, 300), sample(judges, 60)
    embedder = open_lite0()
    embedded = embed_photos(train, options.photos, embedder, Augmentation().copies)
    queries = _query_views(embedder, train), _query_views(embedder, judges)
    labels = np.array([embedded.categories.index(photo.category) for photo in judges])
    runs = [_judged(embedded, *queries, labels, seed) for seed in seeds]
    rows = [
        {
            "head": head,
            "query views": views,
            "held-out": float(np.mean([run[head, views][0] for run in runs])),
            "validation": float(np.mean([run[head, views][1] for run in runs])),
        }
        for head, views in runs[0]
    ]
    print_records(f"category_accuracy, means over {len(seeds)} seeds", rows)
    store("heads", options.smoke, {"seeds": len(seeds), "rows": rows})


def _query_views(embedder: LiteRtEmbedder, photos: Sequence[Photo]) -> NDArray[np.float32]:
    """`(n, 4, dim)`."""

    def embed(photo: Photo) -> NDArray[np.float32]:
        image = decode_image(photo.path.read_bytes(), ImageLimits())
        pixels = to_pixels(image)
        smaller = square(image, 0.8 * (image.width * image.height) ** 0.5, _WHITE)
        return embedder.embed(np.stack([pixels, pixels[:, ::-1], smaller, squashed(image)]))

    with ThreadPoolExecutor(THREADS) as pool:
        return np.stack(list(pool.map(embed, photos)))


def _judged(
    embedded: EmbeddedCatalogue,
    own: NDArray[np.float32],
    others: NDArray[np.float32],
    labels: NDArray[np.int64],
    seed: int,
) -> dict[tuple[str, str], tuple[float, float]]:
    """For each head and views: accuracy on held-out and on validation photos."""
    held_out = HeldOut.of(embedded, seed)
    held_labels = held_out.columns(embedded.categories)
    found = {}
    for head, log_probabilities in _heads(embedded, held_out, seed).items():
        for name, views in _VIEWS.items():
            found[head, name] = (
                # The photos that it has learned tell nothing of it.
                np.nan
                if head == _SERVED
                else _accuracy(log_probabilities, own[held_out.images][:, views], held_labels),
                _accuracy(log_probabilities, others[:, views], labels),
            )
    return found


def _accuracy(head: LogProbabilities, views: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    by_view = head(views.reshape(-1, views.shape[-1])).reshape(*views.shape[:2], -1)
    return float((by_view.mean(axis=1).argmax(axis=1) == labels).mean())


def _heads(embedded: EmbeddedCatalogue, held_out: HeldOut, seed: int) -> dict[str, LogProbabilities]:
    images = np.flatnonzero(~held_out.items[embedded.image_items])
    labels = embedded.columns(images, embedded.categories)
    views = embedded.views[images]
    flat, flat_labels = views.reshape(-1, views.shape[-1]), np.repeat(labels, views.shape[1])
    analysis = Classifier(embedded.categories, *discriminant_head(flat, flat_labels, len(embedded.categories)))
    originals, one_hot = views[:, 0], np.eye(len(embedded.categories), dtype=np.float32)[labels]
    trained = _trained(embedded, held_out, seed)
    own = _log_probabilities(trained.judged)
    with mock.patch.object(train_classifier, "_DISCRIMINANT_SHARES", (0.0,)):
        softmax = _log_probabilities(_trained(embedded, held_out, seed).judged)

    def vote(queries: NDArray[np.float32]) -> NDArray[np.float32]:
        scores = queries @ originals.T
        nearest = np.argpartition(-scores, _NEIGHBOURS, axis=1)[:, :_NEIGHBOURS]
        weights = np.exp(_SHARPNESS * np.take_along_axis(scores, nearest, axis=1))
        votes = np.einsum("qn,qnc->qc", weights, one_hot[nearest])
        found: NDArray[np.float32] = np.log(votes / votes.sum(axis=1, keepdims=True) + 0.01)
        return found

    return {
        _SERVED: _log_probabilities(trained.served),
        "the indexer's": own,
        "softmax alone": softmax,
        "discriminant analysis alone": _log_probabilities(analysis),
        f"vote of {_NEIGHBOURS}": vote,
        "the indexer's and the vote": lambda queries: own(queries) + vote(queries),
    }


def _trained(embedded: EmbeddedCatalogue, held_out: HeldOut, seed: int) -> Heads:
    keras.utils.clear_session()  # what earlier ones left
    with SilentReporter().stage("") as stage:
        return train_classifier.train_classifier(embedded, held_out, seed, stage)[0]


def _log_probabilities(head: Classifier) -> LogProbabilities:
    def find(queries: NDArray[np.float32]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = np.log(head.probabilities(queries) + 1e-6)
        return found

    return find


if __name__ == "__main__":
    main()
