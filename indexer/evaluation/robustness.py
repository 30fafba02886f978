"""Robustness: are items still hits of their own photos after these were edited, as users edit photos?"""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from indexer.console.progress import Reporter
from indexer.evaluation.labelled_photos import embed_query
from indexer.evaluation.photo_edits import EDITS
from indexer.evaluation.predictions import TOP_K
from indexer.evaluation.retrieval_metrics import interval
from indexer.files.location import location
from shared.catalogue.items import IndexedItem
from shared.errors import ImageError
from shared.retrieval.search_options import SearchOptions
from shared.retrieval.searcher import Searcher
from shared.snapshot.snapshot import Snapshot

_N_ITEMS = 40
_SEED = 0
_EDITS = (
    "rotated 10°, white corners",
    "mirrored",
    "cropped to 70 %",
    "JPEG quality 30",
    "30 % darker",
    "15°, 70 %, mirrored, darker, JPEG 30",
)


@dataclass(frozen=True)
class EditFigures:
    """One edit: the share of photos whose own item was among the first ten hits of a strict search."""

    change: str
    photos: int
    recall_at_10: float
    interval: tuple[float, float]


def search_by_edited(snapshot: Snapshot, reporter: Reporter) -> tuple[EditFigures, ...]:
    """Search by edited photos of some random items, the same for each edit; files that are gone are left out.

    Args:
        snapshot: open.
        reporter: receives progress.
    """
    random = np.random.default_rng(_SEED)
    numbers = random.permutation(len(snapshot.items))[:_N_ITEMS].tolist()
    items = snapshot.items.by_numbers(numbers)
    searcher = Searcher(snapshot)

    with (
        reporter.stage("edit photos", len(items) * len(_EDITS)) as stage,
        ThreadPoolExecutor(os.cpu_count() or 1) as pool,
    ):

        def search(indexed: IndexedItem, edit: str) -> bool | None:
            is_hit = _is_hit(searcher, snapshot, indexed, edit)
            stage.advance()
            return is_hit

        by_edit = {edit: list(pool.map(search, items, [edit] * len(items))) for edit in _EDITS}
    return tuple(_figures(edit, [hit for hit in hits if hit is not None]) for edit, hits in by_edit.items() if items)


def _is_hit(searcher: Searcher, snapshot: Snapshot, indexed: IndexedItem, edit: str) -> bool | None:
    """Return True if the item is a hit of its edited photo; None if the photo can't be read."""
    try:
        upload = EDITS[edit](location(snapshot.manifest.image_root) / indexed.item.images[0])
        query = embed_query(snapshot, upload)
    except (ImageError, OSError, Image.DecompressionBombError):
        return None
    hits = searcher.search(query, SearchOptions(top_k=TOP_K)).hits
    return any(hit.item.item_id == indexed.item.item_id for hit in hits)


def _figures(edit: str, hits: list[bool]) -> EditFigures:
    share = float(np.mean(hits)) if hits else 0.0
    return EditFigures(edit, len(hits), share, interval(share, len(hits)) if hits else (0.0, 1.0))
