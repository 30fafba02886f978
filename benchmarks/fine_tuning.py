"""What tuning the base's last blocks brings: category accuracy, whether embeddings still tell items apart, and time.

For each of three seeds, in a process of its own: tune on the training photos, embed them with two augmented copies,
train the head. A part of the training photos is held out, as in a build. Then, for the base as it was and as tuned:

- `category_accuracy` of the head on the validation photos, which nothing was chosen by; with a 95 % interval (Wilson);
- `own_head`: the same by the head that was trained along with the base (frozen: the same head as above);
- for changes that happen to photos (benchmarks/photo_changes.py), the share of held-out photos that are found among
  the first ten of their own category, and that are first.

`seconds` are those of tuning, embedding and the head together. The frozen base is embedded and judged untimed.
"""

import hashlib
import math
import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.options import option_parser
from benchmarks.own_process import run_apart
from benchmarks.photo_changes import CHANGES
from benchmarks.photos import Photo, list_photos, sample
from benchmarks.rows import print_records, store
from indexer.augment import Augmentation
from shared.embedder import LiteRtEmbedder
from shared.images import ImageLimits, decode_image, to_pixels
from shared.vectors import Vectors

_THREADS = os.cpu_count() or 1
_HELD_OUT_SHARE = 0.15
_SEARCHED_BY = ("mirrored", "rotated 10°, white corners", "cropped to 85 %")
_TIE = 1e-6
_Z_95 = 1.96


def main() -> None:
    """Tune for each seed, print and store."""
    parser = option_parser("fine_tuning", __doc__)
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="how many (default: 3; --smoke takes 1)")
    options = parser.parse_args()
    seeds = range(1 if options.smoke else options.seeds)
    train, validation = list_photos(options.photos, "train"), list_photos(options.photos, "validation")
    if options.smoke:
        train, validation = sample(train, 200), sample(validation, 60)
    found = [run_apart(tune, train, validation, seed) for seed in seeds]
    rows = [row for one in found for row in one["judged"]]
    print_records("Validation, and search within the category", rows)
    tuning = [one["tuning"] for one in found]
    print_records("Tuning", tuning)
    print_records("Mean over the seeds", means(rows, len(validation)))
    store("fine_tuning", options.smoke, {"judged": rows, "tuning": tuning, "means": means(rows, len(validation))})


def means(rows: Sequence[dict[str, Any]], n_validation: int) -> list[dict[str, Any]]:
    """Means of accuracies over the seeds, with the interval that so few validation photos leave."""
    found = []
    for base in ("frozen", "tuned"):
        for head in ("category_accuracy", "own_head"):
            mean = float(np.mean([row[head] for row in rows if row["base"] == base]))
            low, high = interval(mean, n_validation)
            found.append({"base": f"{base}, {head}", "mean": mean, "low": low, "high": high})
    return found


def interval(share: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a share of `n` (Wilson, 1927)."""
    spread = _Z_95 * math.sqrt(share * (1 - share) / n + _Z_95**2 / (4 * n * n))
    middle, size = share + _Z_95**2 / (2 * n), 1 + _Z_95**2 / n
    return (middle - spread) / size, (middle + spread) / size


def tune(train: Sequence[Photo], validation: Sequence[Photo], seed: int) -> dict[str, Any]:
    """Everything for one seed; call it through `run_apart`."""
    from indexer.backbone import export_embedder, load_backbone
    from indexer.fine_tune import fine_tune
    from indexer.report import SilentReporter

    labels, held = _labels(train), _held_out(_labels(train), seed)
    base = load_backbone("efficientnet_lite0", None, print)
    frozen = export_embedder(base.model)
    started = time.monotonic()
    with SilentReporter().stage("tune") as stage:
        tuned = fine_tune(base, _Pictures(train), labels, held, seed, stage)
    timed_until = started
    judged = []
    for name, model in (("tuned", tuned.model), ("frozen", frozen)):
        embedder = LiteRtEmbedder(model)
        views = _views(embedder, train)
        head = _fit(views, labels, held, seed)
        if name == "tuned":
            timed_until = time.monotonic()
        own = head
        if name == "tuned" and tuned.head is not None:
            own = tuned.head.weights, tuned.head.bias
        queries = _views(embedder, validation, Augmentation(copies=0))[:, 0]
        row = {
            "base": name,
            "seed": seed,
            "category_accuracy": _accuracy(queries, _labels(validation), *head),
            "own_head": _accuracy(queries, _labels(validation), *own),
        }
        judged.append(row | _searched(embedder, train, views[:, 0], labels, np.flatnonzero(held)))
    figures = {"seed": str(seed), "seconds": timed_until - started, "tuning_seconds": tuned.figures.seconds}
    shown = {"frozen_accuracy", "tuned_accuracy", "epochs", "learned", "held_out"}
    figures |= {key: value for key, value in tuned.figures.as_dict().items() if key in shown}
    return {"judged": judged, "tuning": figures}


class _Pictures(Sequence[Any]):
    """Photos, decoded when they are asked for."""

    def __init__(self, photos: Sequence[Photo]) -> None:
        self._photos = photos

    def __len__(self) -> int:
        return len(self._photos)

    def __getitem__(self, place: Any) -> Any:
        from indexer.trunk import Picture

        return Picture(*_decoded(self._photos[place].path.read_bytes()))


def _decoded(data: bytes) -> tuple[NDArray[np.uint8], bytes]:
    return to_pixels(decode_image(data, ImageLimits())), hashlib.sha256(data).digest()


def _labels(photos: Sequence[Photo]) -> NDArray[np.int64]:
    names = sorted({photo.category for photo in photos})
    return np.array([names.index(photo.category) for photo in photos], dtype=np.int64)


def _held_out(labels: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    random, held = np.random.default_rng(seed), np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        held[members[: round(_HELD_OUT_SHARE * len(members))]] = True
    return held


def _views(
    embedder: LiteRtEmbedder, photos: Sequence[Photo], augmentation: Augmentation | None = None
) -> NDArray[np.float32]:
    """`(n, 1 + copies, dim)` float32 unit rows."""
    how = augmentation or Augmentation()

    def embed(photo: Photo) -> Vectors:
        return embedder.embed(np.stack(how.views(*_decoded(photo.path.read_bytes()))))

    with ThreadPoolExecutor(_THREADS) as pool:
        return np.stack(list(pool.map(embed, photos)))


def _fit(
    views: NDArray[np.float32], labels: NDArray[np.int64], held: NDArray[np.bool_], seed: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    from indexer.report import SilentReporter
    from indexer.train_classifier import fit_head

    learned, n_views = views[~held].reshape(-1, views.shape[-1]), views.shape[1]
    with SilentReporter().stage("head") as stage:
        weights, bias, _ = fit_head(
            learned,
            np.repeat(labels[~held], n_views),
            views[held, 0],
            labels[held],
            int(labels.max()) + 1,
            seed,
            stage,
        )
    return weights, bias


def _accuracy(
    embeddings: Vectors, labels: NDArray[np.int64], weights: NDArray[np.float32], bias: NDArray[np.float32]
) -> float:
    return float(((embeddings @ weights + bias).argmax(axis=1) == labels).mean())


def _searched(
    embedder: LiteRtEmbedder,
    photos: Sequence[Photo],
    indexed: Vectors,
    labels: NDArray[np.int64],
    sought: NDArray[np.int64],
) -> dict[str, float]:
    """Search for changed photos among the unchanged ones of their category."""
    found: dict[str, float] = {}
    for change in _SEARCHED_BY:
        rank = partial(_rank, embedder, change, photos, indexed, labels)
        with ThreadPoolExecutor(_THREADS) as pool:
            ranks = np.array(list(pool.map(rank, sought.tolist())))
        found |= {f"{change}: first": float((ranks == 1).mean()), f"{change}: in 10": float((ranks <= 10).mean())}
    return found


def _rank(
    embedder: LiteRtEmbedder,
    change: str,
    photos: Sequence[Photo],
    indexed: Vectors,
    labels: NDArray[np.int64],
    place: int,
) -> int:
    pixels, _ = _decoded(CHANGES[change](photos[place].path))
    query = embedder.embed(pixels[np.newaxis])[0]
    scores = indexed[labels == labels[place]] @ query
    return 1 + int((scores > indexed[place] @ query + _TIE).sum())


if __name__ == "__main__":
    main()
