"""The baseline notebook: indexing and searching as a typical Keras notebook does.

Indexing: `load_img`, copies by ImageDataGenerator, one `model.predict` per image. A query: `predict` for the class and
again for the embedding, scikit-learn's `cosine_similarity` over the category's embeddings, `argsort`.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from indexer.embedding.augmentation import Augmentation
from shared.model.classifier import Classifier
from shared.snapshot.data_directory import DataDirectory
from shared.snapshot.snapshot import Snapshot

_TOP_K = 10
_SIDE_PX = 224  # as such notebooks have it, whatever the snapshot's
_WARM_UP = 3


@dataclass(frozen=True)
class NotebookSpeed:
    """Medians.

    Attributes:
        photos: how many were indexed.
        copies: augmented copies of each.
        index_original_ms: load a photo and embed it.
        index_ms: load a photo, make its copies, embed all of these views.
        queries: how many.
        query_ms: from the photo's file to the ordered items.
    """

    photos: int
    copies: int
    index_original_ms: float
    index_ms: float
    queries: int
    query_ms: float


class NotebookSearch:
    """A query as in the baseline notebook, on a snapshot's classifier and embeddings."""

    def __init__(self, data: Path) -> None:
        """Load the published snapshot in `data`, and EfficientNet-Lite0 in Keras."""
        from indexer.backbone.load import load_backbone

        directory = DataDirectory(data)
        snapshot = Snapshot.open(directory.paths(directory.current_id()))
        parts = [snapshot.partitions[category] for category in snapshot.classifier.categories]
        self._galleries = [part.embeddings(range(part.n_rows)) for part in parts]
        self.base = load_backbone("efficientnet_lite0", None, print, _SIDE_PX).model
        self._whole = _with_head(self.base, snapshot.classifier)
        snapshot.close()

    def search(self, file: Path | BinaryIO) -> list[int]:
        """The rows of the predicted category that are most alike, best first."""
        from sklearn.metrics.pairwise import cosine_similarity

        image = _load(file)[np.newaxis]
        category = int(self._whole.predict(image, verbose=0).argmax())
        embedding = self.base.predict(image, verbose=0)
        scores = cosine_similarity(embedding, self._galleries[category])[0]
        found: list[int] = scores.argsort()[::-1][:_TOP_K].tolist()
        return found


def measure_notebook(data: Path, photos: Sequence[Path], queries: Sequence[Path]) -> NotebookSpeed:
    """Index photos and search by others, as the notebook did.

    Args:
        data: where a snapshot is, whose classifier and embeddings are used.
        photos: to index.
        queries: to search by.
    """
    searcher = NotebookSearch(data)
    base = searcher.base
    for path in queries[:_WARM_UP]:
        _index_s(base, path)
        _query_s(searcher, path)
    index_s = [_index_s(base, path) for path in photos]
    query_s = [_query_s(searcher, path) for path in queries]
    return NotebookSpeed(
        photos=len(photos),
        copies=Augmentation().copies,
        index_original_ms=1000 * statistics.median(original for original, _ in index_s),
        index_ms=1000 * statistics.median(total for _, total in index_s),
        queries=len(queries),
        query_ms=1000 * statistics.median(query_s),
    )


def _with_head(base: Any, classifier: Classifier) -> Any:
    """The snapshot's head on the base, as one Keras model: images → probabilities."""
    import keras

    head = keras.layers.Dense(len(classifier.categories), activation="softmax")
    whole = keras.Model(base.input, head(keras.layers.UnitNormalization()(base.output)))
    head.set_weights([classifier.weights, classifier.bias])
    return whole


def _index_s(base: Any, path: Path) -> tuple[float, float]:
    """Seconds for the original alone, and for it and its copies."""
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    ours = Augmentation()
    generator = ImageDataGenerator(
        rotation_range=ours.rotation_degrees, zoom_range=ours.zoom, horizontal_flip=ours.flip
    )
    started = time.perf_counter()
    image = _load(path)
    base.predict(image[np.newaxis], verbose=0)
    original_s = time.perf_counter() - started
    for _ in range(ours.copies):
        base.predict(generator.random_transform(image)[np.newaxis], verbose=0)
    return original_s, time.perf_counter() - started


def _query_s(searcher: NotebookSearch, path: Path) -> float:
    started = time.perf_counter()
    searcher.search(path)
    return time.perf_counter() - started


def _load(file: Path | BinaryIO) -> NDArray[np.float32]:
    """`(224, 224, 3)` float32."""
    import keras

    image: NDArray[np.float32] = keras.utils.img_to_array(keras.utils.load_img(file, target_size=(_SIDE_PX, _SIDE_PX)))
    return image
