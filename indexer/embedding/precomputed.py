"""Embeddings that were made elsewhere: a NumPy file, and JSON lines that say what each of its rows shows.

1. Read the items: a line a row, in the rows' order; rows of one item stand together.
2. Read the embeddings once, to refuse what has no direction, and for a digest of each.

Nothing but the digests and the items is held: whoever needs embeddings takes some rows of the mapped file, and metadata
lie in a file too.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexer.catalogue.entries import read_entries
from indexer.catalogue.metadata_spool import MetadataSpool, spooled
from indexer.catalogue.model import EntryError
from indexer.catalogue.reader import described_row
from indexer.console.progress import Stage
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.embedding.exported_backbone import ExportedBackbone
from shared.catalogue.items import Item
from shared.errors import CatalogueError, SettingsError
from shared.model.embedder import embedder_id
from shared.vectors import Vectors, unit_rows

_CHUNK = 4096


class PrecomputedViews:
    """The rows of a NumPy file, brought to length 1 when they are taken; one view an image."""

    def __init__(self, path: Path) -> None:
        """Map the file.

        Raises:
            CatalogueError: it is no array of `(n, dim)` real numbers.
        """
        try:
            self._rows: NDArray[np.floating] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise CatalogueError(f"the embeddings {path} can't be read: {error}") from error
        if self._rows.ndim != 2 or 0 in self._rows.shape or self._rows.dtype.kind != "f":
            found = f"{self._rows.dtype} of shape {self._rows.shape}"
            raise CatalogueError(f"the embeddings {path} are {found}; wanted floating-point numbers, (n, dim)")
        self.path = path
        self.shape: tuple[int, ...] = (len(self._rows), 1, self._rows.shape[1])

    def __getitem__(self, images: NDArray[np.int64], /) -> Vectors:
        """`(n,)` rows → `(n, 1, dim)` float32, unit rows."""
        return unit_rows(self._rows[images])[:, np.newaxis]

    def digests(self, stage: Stage) -> Iterator[bytes]:
        """The SHA-256 of each row.

        Raises:
            CatalogueError: a row has no direction.
        """
        for start in range(0, len(self._rows), _CHUNK):
            rows = np.ascontiguousarray(self._rows[start : start + _CHUNK])
            try:
                unit_rows(rows)
            except ValueError:
                bad = start + int(np.argmax(~(np.isfinite(rows).all(axis=1) & rows.any(axis=1))))
                raise CatalogueError(f"row {bad} of {self.path} (from 0) is zero or not finite: no direction") from None
            for row in rows:
                yield hashlib.sha256(row.tobytes()).digest()
                stage.advance()


def read_precomputed(
    embeddings: Path, items: Path, base: ExportedBackbone, stage: Stage, spool_directory: Path | None = None
) -> EmbeddedCatalogue:
    """Put embeddings and items together, as if the base had just embedded them.

    Args:
        embeddings: `.npy`, `(n, dim)`, of any length but 0.
        items: `.jsonl`, a line a row: `item_id`, `category`, `image` if there is one, and metadata.
        base: that made them, as the user says; `UNKNOWN_BACKBONE` where that is not said.
        stage: is told of each row.
        spool_directory: on whose disk the metadata are kept; by default where the system has its temporary files.

    Raises:
        CatalogueError: one of them can't be used, or they don't fit each other.
        StorageError: that disk is full, or can't be written.
    """
    views = PrecomputedViews(embeddings)
    shown, image_items = _items(items, MetadataSpool(spool_directory))
    if len(image_items) != views.shape[0]:
        found = f"{items} describes {len(image_items)} rows; {embeddings} has {views.shape[0]}"
        raise CatalogueError(f"{found}: wanted a line a row, in the same order")
    digests = tuple(views.digests(stage))
    recipe = f"given | {embedder_id(base.model)} | {views.shape[2]}"
    return EmbeddedCatalogue(shown, image_items, digests, views, (), len(image_items), recipe)


def _items(path: Path, spool: MetadataSpool) -> tuple[tuple[Item, ...], NDArray[np.int64]]:
    """The items, and the number of the item that each row shows."""
    if path.suffix.lower() not in (".jsonl", ".ndjson", ".json"):
        raise CatalogueError(f"--items {path} is no .jsonl file")
    items: list[Item] = []
    numbers: dict[str, int] = {}
    image_items: list[int] = []
    for row, entry in enumerate(read_entries(path)):
        try:
            item = described_row(entry, row)
        except EntryError as error:
            raise CatalogueError(f"{path}, row {entry.row}: {error}") from error
        number = numbers.setdefault(item.item_id, len(items))
        if number == len(items):
            items.append(spooled(item, spool))
        elif number == len(items) - 1 and item.category == items[-1].category:
            items[-1] = replace(items[-1], images=(*items[-1].images, *item.images))
        else:
            raise CatalogueError(
                f"{path}, row {entry.row}: the item {item.item_id!r} came before, in another category or with others"
                " in between: rows of an item stand together"
            )
        image_items.append(number)
    return tuple(items), np.array(image_items, dtype=np.int64)


def require_same_dim(base: ExportedBackbone, base_dim: int, dim: int) -> None:
    """Refuse a base that can't have made the embeddings.

    Raises:
        SettingsError: it makes others.
    """
    if base_dim != dim:
        raise SettingsError(
            f"--backbone {base.name} makes embeddings of {base_dim} dimensions; those given have {dim}: leave"
            " --backbone out, and images are refused as queries"
        )
