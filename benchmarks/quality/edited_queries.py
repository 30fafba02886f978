"""Searches by edited photos of a catalogue: is the item that the photo shows a hit?

Items with the same score as that item don't count as before it: some photos are in a catalogue twice.
"""

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from indexer.evaluation.labelled_photos import embed_query
from indexer.evaluation.photo_edits import EDITS
from shared.catalogue.items import IndexedItem
from shared.retrieval.results import ItemHit
from shared.retrieval.search_options import SearchOptions
from shared.retrieval.searcher import Searcher
from shared.snapshot.snapshot import Snapshot
from shared.vectors import Vectors

_THREADS = os.cpu_count() or 1
_TOP_K = 10
_TIE = 1e-6


@dataclass(frozen=True)
class EditedFigures:
    """The share of edited photos whose item is a hit.

    Attributes:
        snapshot: how it was built.
        change: the edit.
        first: share whose item is first in a search of the predicted category.
        in_10: …among the first ten.
        auto_in_10: …among the first ten of a search with probe auto.
        own_category_first: share whose item is first in a search of its own category.
        own_category_in_10: …among the first ten.
        category_accuracy: share whose predicted category is the item's.
        median_score: of queries with their own items.
        lowest_score: the lowest of these.
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


@dataclass(frozen=True)
class _Outcome:
    """The ranks of a query's own item, infinite where it is not a hit, its score, and if its category was predicted."""

    strict: float
    auto: float
    own_category: float
    own_score: float
    is_right: bool


def search_by_edited(snapshot: Snapshot, name: str, edit: str, count: int) -> EditedFigures:
    """Search by edited photos of `count` of the snapshot's items, the same ones for all snapshots of a catalogue.

    Args:
        snapshot: opened with one interpreter per core.
        name: how it was built.
        edit: one of `EDITS`.
        count: number of items.
    """
    items = sorted(snapshot.items, key=lambda indexed: indexed.item.item_id)
    chosen = [items[index] for index in np.random.default_rng(0).permutation(len(items))[:count]]
    with ThreadPoolExecutor(_THREADS) as pool:
        outcomes = list(pool.map(partial(_search, snapshot, Searcher(snapshot), edit), chosen))
    strict, auto, within = (
        np.array([getattr(outcome, field) for outcome in outcomes]) for field in ("strict", "auto", "own_category")
    )
    return EditedFigures(
        snapshot=name,
        change=edit,
        first=float(np.mean(strict == 1)),
        in_10=float(np.mean(strict <= _TOP_K)),
        auto_in_10=float(np.mean(auto <= _TOP_K)),
        own_category_first=float(np.mean(within == 1)),
        own_category_in_10=float(np.mean(within <= _TOP_K)),
        category_accuracy=float(np.mean([outcome.is_right for outcome in outcomes])),
        median_score=float(np.median([outcome.own_score for outcome in outcomes])),
        lowest_score=min(outcome.own_score for outcome in outcomes),
    )


def _search(snapshot: Snapshot, searcher: Searcher, edit: str, indexed: IndexedItem) -> _Outcome:
    item = indexed.item
    query = embed_query(snapshot, EDITS[edit](Path(snapshot.manifest.image_root) / item.images[0]))
    strict = searcher.search(query, SearchOptions(_TOP_K))
    auto = searcher.search(query, SearchOptions(_TOP_K, probe="auto"))
    within = searcher.search(query, SearchOptions(_TOP_K, category=item.category))
    return _Outcome(
        strict=_rank(item.item_id, strict.hits),
        auto=_rank(item.item_id, auto.hits),
        own_category=_rank(item.item_id, within.hits),
        own_score=_own_score(snapshot, indexed, query.vectors[0]),
        is_right=strict.predicted.category == item.category,
    )


def _rank(item_id: str, hits: Sequence[ItemHit]) -> float:
    own = next((hit.score for hit in hits if hit.item.item_id == item_id), None)
    return math.inf if own is None else 1 + sum(hit.score > own + _TIE for hit in hits)


def _own_score(snapshot: Snapshot, indexed: IndexedItem, query: Vectors) -> float:
    partition = snapshot.partition(indexed.item.category)
    rows = np.flatnonzero(partition.item_numbers() == indexed.number)
    return float((partition.embeddings(rows.tolist()) @ query).max())
