"""Which way of bringing a photo to 224 px serves best, with EfficientNet-Lite0 frozen.

Every photo is decoded at full size and brought to the square in each way; only "as served" also decodes as the product
does, at a smaller scale of libjpeg's. A way is judged on all photos by

- the nearest other photo: the share that has the same category, and the share of the nearest ten that have it;
- a logistic head, 5-fold cross-validated: its accuracy, and the difference from ours with its standard error, which
  is that of the paired differences photo by photo.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from benchmarks.harness.embedded_photos import open_lite0
from benchmarks.harness.options import option_parser
from benchmarks.harness.photos import Photo, list_photos, sample
from benchmarks.harness.rows import print_records, store
from benchmarks.squares import border_colour, square, squashed
from shared.images.decode import ImageLimits, decode_image, to_pixels
from shared.model.embedder import LiteRtEmbedder
from shared.vectors import Vectors

_THREADS = os.cpu_count() or 1
_OURS = "geometric mean, white (ours)"
_INPUT_SCALE = 0.3
_FOLDS = 5
_NEAREST = 10

_WHITE = (255, 255, 255)
_GREY = (128, 128, 128)

Way = Callable[[Image.Image], NDArray[np.uint8]]
"""From an upright RGB photo to `(224, 224, 3)` uint8."""


def _short_side(image: Image.Image) -> float:
    return min(image.size)


def _long_side(image: Image.Image) -> float:
    return max(image.size)


def _geometric_mean(image: Image.Image) -> float:
    return float(np.sqrt(image.width * image.height))


_WAYS: Mapping[str, Way] = {
    "squashed": squashed,
    "padded, white": lambda image: square(image, _long_side(image), _WHITE),
    "padded, grey": lambda image: square(image, _long_side(image), _GREY),
    "centre crop": lambda image: square(image, _short_side(image), _WHITE),
    "centre crop, 87.5 %": lambda image: square(image, 0.875 * _short_side(image), _WHITE),
    _OURS: to_pixels,
    "geometric mean, grey": lambda image: square(image, _geometric_mean(image), _GREY),
    "geometric mean, edge repeated": lambda image: square(image, _geometric_mean(image), None),
    "geometric mean, border colour": lambda image: square(image, _geometric_mean(image), border_colour(image)),
}
_AS_SERVED = f"{_OURS}, as served"


@dataclass(frozen=True)
class Judged:
    """How well the embeddings of one way serve.

    Attributes:
        way: what it is called.
        nearest_accuracy: share of photos whose nearest other one has the same category.
        precision_at_10: share of the ten nearest that have it.
        head_accuracy: cross-validated.
        against_ours: `head_accuracy` minus that of ours.
        standard_error: of this difference.
    """

    way: str
    nearest_accuracy: float
    precision_at_10: float
    head_accuracy: float
    against_ours: float
    standard_error: float


def main() -> None:
    """Embed every photo in every way, judge, print and store."""
    options = option_parser("preprocessing", __doc__).parse_args()
    photos = list_photos(options.photos)
    photos = sample(photos, 300 if options.smoke else len(photos))
    labels = np.array([photo.category for photo in photos])
    embeddings = _embed(photos, open_lite0())
    right = {way: _head_is_right(found, labels) for way, found in embeddings.items()}
    judged = [_judge(way, found, labels, right[way], right[_OURS]) for way, found in embeddings.items()]
    print_records(f"{len(photos)} photos, {len(set(labels.tolist()))} categories", [asdict(one) for one in judged])
    store("preprocessing", options.smoke, {"photos": len(photos), "ways": [asdict(one) for one in judged]})


def _embed(photos: Sequence[Photo], embedder: LiteRtEmbedder) -> dict[str, Vectors]:
    """`(n, dim)` for each way."""

    def work(photo: Photo) -> Vectors:
        data = photo.path.read_bytes()
        with Image.open(photo.path) as opened:
            whole = ImageOps.exif_transpose(opened).convert("RGB")
        views = [way(whole) for way in _WAYS.values()]
        return embedder.embed(np.stack([*views, to_pixels(decode_image(data, ImageLimits()))]))

    with ThreadPoolExecutor(_THREADS) as pool:
        embedded = np.stack(list(pool.map(work, photos)))
    return {way: embedded[:, place] for place, way in enumerate([*_WAYS, _AS_SERVED])}


def _head_is_right(embeddings: Vectors, labels: NDArray[np.str_]) -> NDArray[np.float64]:
    """`(n,)`: 1 where a head that was trained on the other folds names the photo's category."""
    scale = FunctionTransformer(partial(np.multiply, _INPUT_SCALE))
    head = make_pipeline(StandardScaler(), scale, LogisticRegression(C=0.01, max_iter=200))
    folds = StratifiedKFold(_FOLDS, shuffle=True, random_state=0)
    predicted = cross_val_predict(head, embeddings, labels, cv=folds)
    return np.asarray(predicted == labels, dtype=np.float64)


def _judge(
    way: str,
    embeddings: Vectors,
    labels: NDArray[np.str_],
    right: NDArray[np.float64],
    ours_right: NDArray[np.float64],
) -> Judged:
    scores = embeddings @ embeddings.T
    np.fill_diagonal(scores, -np.inf)
    nearest = np.argsort(-scores, axis=1, kind="stable")[:, :_NEAREST]
    same = labels[nearest] == labels[:, np.newaxis]
    difference = right - ours_right
    return Judged(
        way=way,
        nearest_accuracy=float(same[:, 0].mean()),
        precision_at_10=float(same.mean()),
        head_accuracy=float(right.mean()),
        against_ours=float(difference.mean()),
        standard_error=float(difference.std(ddof=1) / np.sqrt(len(difference))),
    )


if __name__ == "__main__":
    main()
