"""The training set of the classifier's heads: views of the catalogue's images, labelled queries, who learns which."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.classifier.feedback_queries import LabelledQueries
from indexer.classifier.held_out import HeldOut
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.groups.folds import N_FOLDS
from shared.catalogue.items import Item

RANDOM_SHARE = 0.2
_MAX_VIEWS = 50_000  # 0.13 GB: memory must not grow with the catalogue
_CHUNK_IMAGES = 4096


@dataclass(frozen=True)
class TrainingSet:
    """Views with their labels.

    Attributes:
        categories: the names of the labels, in the order of the classifier's columns.
        views: `(n, dim)` float16.
        labels: `(n,)` int64, columns.
        left_out: `(n, n_heads)` bool, True where a head does not learn a view: first the heads of the folds, then the
            one that is served, which learns all, then one that leaves out `RANDOM_SHARE` of the items at random, if
            anything is held out.
        n_fold_heads: the number of the first; 0 if the one that is served has not learned fold 0 either.
        random_images: `(m,)` int64, the images that the last head has not learned.
    """

    categories: tuple[str, ...]
    views: NDArray[np.float16]
    labels: NDArray[np.int64]
    left_out: NDArray[np.bool_]
    n_fold_heads: int
    random_images: NDArray[np.int64]

    @classmethod
    def of(cls, held_out: HeldOut, seed: int, queries: LabelledQueries | None) -> "TrainingSet":
        """Collect the views of the images and the queries; of very many, a sample balanced over the categories.

        A query has the weight of an image of the catalogue: it is repeated as often as an image has views. All heads
        learn it. Where only fold 0 is held out and there is only room for a sample, that is one of the other folds: so
        many images more would teach no more.

        Args:
            held_out: the catalogue's views, and their folds.
            seed: of the sample and the random items.
            queries: labelled queries from feedback.
        """
        embedded = held_out.embedded
        categories, (n_images, n_views, _) = embedded.categories, embedded.views.shape
        limit = max(1, _MAX_VIEWS // n_views)
        n_queries = 0 if queries is None else len(queries.categories)
        images, n_fold_heads = np.arange(n_images), held_out.n_folds
        if n_images + n_queries > limit and held_out.n_folds < N_FOLDS:
            images, n_fold_heads = images[held_out.folds.numbers != 0], 0
        labels = embedded.columns(images, categories)
        if queries is not None:
            labels = np.concatenate([labels, queries.columns(categories)])
        chosen = balanced_sample(labels, limit, seed)
        chosen_images = images[chosen[: int(np.searchsorted(chosen, len(images)))]]  # ascending: queries come last
        left_out, random_images = _left_out(held_out, chosen_images, len(chosen), n_fold_heads, seed)
        return cls(
            categories,
            _views(embedded, chosen_images, chosen[len(chosen_images) :] - len(images), queries),
            np.repeat(labels[chosen], n_views),
            np.repeat(left_out, n_views, axis=0),
            n_fold_heads,
            random_images,
        )


def _left_out(
    held_out: HeldOut, images: NDArray[np.int64], n: int, n_fold_heads: int, seed: int
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """`(n, n_heads)`, of which the images come first, and the images that the last head has not learned."""
    heads = np.zeros((n, n_fold_heads + 1), dtype=np.bool_)
    if not held_out.n_images:
        return heads, np.zeros(0, np.int64)
    heads[: len(images), :n_fold_heads] = held_out.folds.numbers[images, np.newaxis] == np.arange(n_fold_heads)
    embedded = held_out.embedded
    numbers, inverse = np.unique(embedded.image_items[images], return_inverse=True)
    is_random = random_items([embedded.items[number] for number in numbers], seed)[inverse]
    last = np.zeros((n, 1), dtype=np.bool_)
    last[: len(images), 0] = is_random
    return np.concatenate([heads, last], axis=1), images[is_random]


def _views(
    embedded: EmbeddedCatalogue, images: NDArray[np.int64], rows: NDArray[np.int64], queries: LabelledQueries | None
) -> NDArray[np.float16]:
    """`(n, dim)` float16: the views of the images, then those of the queries in these rows."""
    n_views, dim = embedded.views.shape[1:]
    views = np.empty((len(images) + len(rows), n_views, dim), dtype=np.float16)
    for start in range(0, len(images), _CHUNK_IMAGES):
        part = slice(start, min(start + _CHUNK_IMAGES, len(images)))
        views[part] = embedded.views[images[part]]
    if queries is not None:
        views[len(images) :] = queries.embeddings[rows, np.newaxis]
    return views.reshape(-1, dim)


def random_items(items: Sequence[Item], seed: int) -> NDArray[np.bool_]:
    """Choose `RANDOM_SHARE` of each category's items, never all of them, whatever they look like.

    Args:
        items: of the catalogue.
        seed: of the choice.

    Returns:
        `(n_items,)` bool.
    """
    chosen = np.zeros(len(items), dtype=np.bool_)
    members: dict[str, list[int]] = {}
    for number, item in enumerate(items):
        members.setdefault(item.category, []).append(number)
    for numbers in members.values():
        ranked = sorted(numbers, key=lambda number: _rank(items[number].item_id, seed))
        chosen[ranked[: round(RANDOM_SHARE * len(ranked))]] = True
    return chosen


def _rank(item_id: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed} {item_id}".encode()).digest()


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
