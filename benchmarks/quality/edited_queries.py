"""Searches by changed photos of a catalogue: is the item that the photo shows found again?

Items with the same score as the item sought don't count as before it: some photos are in a catalogue twice.
"""

import hashlib
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexer.evaluation.photo_edits import EDITS
from shared.catalogue.items import IndexedItem
from shared.images.decode import decode_image
from shared.images.limits import ImageLimits
from shared.images.preprocessing import to_pixels
from shared.index.category_search import CategorySearch, search_partitions
from shared.retrieval.nearest_item_rule import likely_categories
from shared.snapshot.snapshot import Snapshot
from shared.vectors import Vectors

_THREADS = os.cpu_count() or 1
_TOP_K = 10
_TIE = 1e-6


@dataclass(frozen=True)
class Found:
    """How often queries of one kind found the photo that they were made of.

    Attributes:
        snapshot: how it was built.
        change: what was done to the photo.
        first: share whose item is first in a search of the predicted category.
        in_10: …among the first ten.
        auto_in_10: …among the first ten of a search with probe auto.
        own_category_first: share whose item is first in a search of its own category.
        own_category_in_10: …among the first ten.
        category_accuracy: share whose predicted category is the item's.
        median_score: that queries have with their own item.
        lowest_score: the smallest of these.
    """

    snapshot: str
    change: str
    first: float
    in_10: float
    auto_in_10: float
    own_category_first: float
    own_category_in_10: float
    category_accuracy: float
    median_score: float
    lowest_score: float


def search_by_edited(snapshot: Snapshot, name: str, change: str, count: int) -> Found:
    """Search by changed photos of `count` of the snapshot's items, the same ones for all snapshots of a catalogue.

    Args:
        snapshot: opened with an interpreter a core.
        name: how it was built.
        change: one of `EDITS`.
        count: how many items.
    """
    items = sorted(snapshot.items, key=lambda indexed: indexed.item.item_id)
    chosen = np.random.default_rng(0).permutation(len(items))[:count]
    sought = [items[place] for place in chosen]
    root = Path(snapshot.manifest.image_root)

    def embed(indexed: IndexedItem) -> tuple[Vectors, list[str]]:
        upload = EDITS[change](root / indexed.item.images[0])
        image = decode_image(upload, ImageLimits(), preprocessing=snapshot.manifest.preprocessing)
        embedding = snapshot.embedder.embed(to_pixels(image)[np.newaxis])
        return embedding, snapshot.items.categories_of(hashlib.sha256(upload).digest())

    with ThreadPoolExecutor(_THREADS) as pool:
        found = list(pool.map(embed, sought))
    embeddings = np.concatenate([embedding for embedding, _ in found])
    searched = [_searched(snapshot, query, known) for query, (_, known) in zip(embeddings, found, strict=True)]
    own = [indexed.item.category for indexed in sought]
    strict = _ranks(snapshot, sought, embeddings, [categories[:1] for categories in searched])
    auto = _ranks(snapshot, sought, embeddings, searched)
    within = _ranks(snapshot, sought, embeddings, [[category] for category in own])
    scores = [
        _own_score(snapshot.partition(category), indexed, query)
        for category, indexed, query in zip(own, sought, embeddings, strict=True)
    ]
    return Found(
        snapshot=name,
        change=change,
        first=float(np.mean(strict == 1)),
        in_10=float(np.mean(strict <= _TOP_K)),
        auto_in_10=float(np.mean(auto <= _TOP_K)),
        own_category_first=float(np.mean(within == 1)),
        own_category_in_10=float(np.mean(within <= _TOP_K)),
        category_accuracy=float(np.mean([one[0] == wanted for one, wanted in zip(searched, own, strict=True)])),
        median_score=float(np.median(scores)),
        lowest_score=min(scores),
    )


def _searched(snapshot: Snapshot, query: Vectors, known: list[str]) -> list[str]:
    """The categories that `probe: auto` searches, most probable first.

    As in the service, the very file of a catalogue image counts as its item's category, and so does an item that is
    recognised.
    """
    return known[:1] or likely_categories(snapshot, query[np.newaxis])


def _ranks(
    snapshot: Snapshot, sought: Sequence[IndexedItem], embeddings: Vectors, searched: Sequence[Sequence[str]]
) -> NDArray[np.float64]:
    """`(n,)`: the rank of each item in a search of some categories; infinite where it is not among the hits."""
    ranks = np.full(len(sought), math.inf)
    for place, (indexed, categories) in enumerate(zip(sought, searched, strict=True)):
        partitions = [snapshot.partition(category) for category in categories]
        hits = search_partitions(partitions, embeddings[place : place + 1], _TOP_K)
        own = next((hit.score for hit in hits if hit.item_number == indexed.number), None)
        if own is not None:
            ranks[place] = 1 + sum(hit.score > own + _TIE for hit in hits)
    return ranks


def _own_score(partition: CategorySearch, indexed: IndexedItem, query: Vectors) -> float:
    rows = np.flatnonzero(partition.item_numbers() == indexed.number)
    return float((partition.embeddings(rows.tolist()) @ query).max())
