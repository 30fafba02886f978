"""Whether an item of the catalogue is found by its own photo after that was changed, as users' photos are."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from indexer.console.progress import Reporter
from indexer.embedding.decoding import decode_pixels
from indexer.evaluation.photo_edits import EDITS
from indexer.evaluation.predictions import TOP_K
from indexer.evaluation.retrieval_metrics import interval
from indexer.files.location import location
from shared.catalogue.items import IndexedItem
from shared.errors import ImageError
from shared.images.limits import ImageLimits
from shared.retrieval.nearest_item_rule import strict_hits
from shared.snapshot.snapshot import Snapshot

_ITEMS = 40
_SEED = 0
_CHANGES = (
    "rotated 10°, white corners",
    "mirrored",
    "cropped to 70 %",
    "JPEG quality 30",
    "30 % darker",
    "15°, 70 %, mirrored, darker, JPEG 30",
)


@dataclass(frozen=True)
class EditFigures:
    """One change: of how many photos the own item was among the first ten hits of a strict search."""

    change: str
    photos: int
    recall_at_10: float
    interval: tuple[float, float]


def search_by_edited(snapshot: Snapshot, reporter: Reporter) -> tuple[EditFigures, ...]:
    """Search by changed photos of some random items, the same ones for each change; files that are gone are left out.

    Args:
        snapshot: open.
        reporter: told of progress.
    """
    random = np.random.default_rng(_SEED)
    numbers = random.permutation(len(snapshot.items))[:_ITEMS].tolist()
    items = snapshot.items.by_numbers(numbers)

    with (
        reporter.stage("changed photos", len(items) * len(_CHANGES)) as stage,
        ThreadPoolExecutor(os.cpu_count() or 1) as pool,
    ):

        def search(indexed: IndexedItem, change: str) -> bool | None:
            found = _is_found(snapshot, indexed, change)
            stage.advance()
            return found

        found = {change: list(pool.map(search, items, [change] * len(items))) for change in _CHANGES}
    return tuple(_figures(change, [one for one in each if one is not None]) for change, each in found.items() if items)


def _is_found(snapshot: Snapshot, indexed: IndexedItem, change: str) -> bool | None:
    """None where the photo can't be read."""
    limits = ImageLimits()
    try:
        upload = EDITS[change](location(snapshot.manifest.image_root) / indexed.item.images[0])
        pixels = decode_pixels(upload, limits, preprocessing=snapshot.manifest.preprocessing)
        embedding = snapshot.embedder.embed(pixels[np.newaxis])
    except (ImageError, OSError, Image.DecompressionBombError):
        return None
    return any(hit.item_number == indexed.number for hit in strict_hits(snapshot, embedding, TOP_K))


def _figures(change: str, found: list[bool]) -> EditFigures:
    share = float(np.mean(found)) if found else 0.0
    return EditFigures(change, len(found), share, interval(share, len(found)) if found else (0.0, 1.0))
