"""The training set of a classifier: views of the catalogue's images, and labelled queries."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.classifier.feedback_queries import LabelledQueries
from indexer.embedding.embed_catalogue import EmbeddedCatalogue

_MAX_VIEWS = 50_000  # 0.13 GB: memory must not grow with the catalogue
_CHUNK_IMAGES = 4096


@dataclass(frozen=True)
class TrainingSet:
    """Views with their labels.

    Attributes:
        categories: the names of the labels, in the order of the classifier's columns.
        views: `(n, dim)` float16.
        labels: `(n,)` int64, columns.
        is_sample: True if there were too many images to use all.
    """

    categories: tuple[str, ...]
    views: NDArray[np.float16]
    labels: NDArray[np.int64]
    is_sample: bool

    @classmethod
    def of(
        cls, embedded: EmbeddedCatalogue, items: NDArray[np.bool_], seed: int, queries: LabelledQueries | None
    ) -> "TrainingSet":
        """Collect the views of some items and the queries; of very many, a sample balanced over the categories.

        A query has the weight of an image of the catalogue: it is repeated as often as an image has views.

        Args:
            embedded: the catalogue's views.
            items: `(n_items,)`, True for those to use.
            seed: of the sample.
            queries: labelled queries from feedback.
        """
        categories = embedded.categories
        images = np.flatnonzero(items[embedded.image_items])
        labels = embedded.columns(images, categories)
        if queries is not None:
            labels = np.concatenate([labels, queries.columns(categories)])
        n_views, dim = embedded.views.shape[1:]
        chosen = balanced_sample(labels, max(1, _MAX_VIEWS // n_views), seed)
        views = np.empty((len(chosen), n_views, dim), dtype=np.float16)
        n_images = int(np.searchsorted(chosen, len(images)))  # `chosen` ascends: queries come last
        for start in range(0, n_images, _CHUNK_IMAGES):
            part = slice(start, min(start + _CHUNK_IMAGES, n_images))
            views[part] = embedded.views[images[chosen[part]]]
        if queries is not None:
            views[n_images:] = queries.embeddings[chosen[n_images:] - len(images), np.newaxis]
        is_sample = len(chosen) < len(labels)
        return cls(categories, views.reshape(-1, dim), np.repeat(labels[chosen], n_views), is_sample)


def balanced_sample(labels: NDArray[np.int64], limit: int, seed: int) -> NDArray[np.int64]:
    """Choose at most `limit` rows, as evenly over the labels as they allow.

    Args:
        labels: `(n,)`.
        limit: the largest number of rows.
        seed: of the choice.

    Returns:
        The chosen rows, ascending.
    """
    if len(labels) <= limit:
        return np.arange(len(labels))
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    by_label = shuffled[np.argsort(labels[shuffled], kind="stable")]
    starts = np.searchsorted(labels[by_label], labels[by_label])
    rounds = np.arange(len(labels)) - starts  # the first row of every label, then the second of every label, …
    return np.sort(by_label[np.argsort(rounds, kind="stable")[:limit]])
