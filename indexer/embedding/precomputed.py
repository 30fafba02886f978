"""Precomputed embeddings: a NumPy file, and JSON lines that describe its rows.

1. Read the items: one line per row, in the order of the rows; the rows of an item are adjacent.
2. Read the embeddings once, to reject rows that can't be normalised, and for a digest of each.

Only the digests and the items are held in memory: embeddings are read from the mapped file when needed, and metadata
are kept in a file too.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexer.catalogue.entries import read_entries
from indexer.catalogue.item_fields import item_of_row
from indexer.catalogue.metadata_spool import MetadataSpool, spooled
from indexer.catalogue.model import EntryError
from indexer.console.progress import Stage
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.embedding.exported_backbone import ExportedBackbone
from shared.catalogue.items import Item
from shared.errors import CatalogueError, SettingsError
from shared.model.embedder import embedder_id
from shared.snapshot.snapshot import GIVEN_RECIPE
from shared.vectors import Vectors, unit_rows

_CHUNK = 4096


class PrecomputedViews:
    """The rows of a NumPy file, normalised on access; one view per image."""

    def __init__(self, path: Path) -> None:
        """Map the file.

        Raises:
            CatalogueError: it is not an array of `(n, dim)` floating-point numbers.
        """
        try:
            self._rows: NDArray[np.floating] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            raise CatalogueError(f"the embeddings {path} can't be read: {error}") from error
        if self._rows.ndim != 2 or 0 in self._rows.shape or self._rows.dtype.kind != "f":
            raise CatalogueError(
                f"the embeddings {path} are {self._rows.dtype} of shape {self._rows.shape};"
                " expected floating-point numbers of shape (n, dim)"
            )
        self.path = path
        self.shape: tuple[int, ...] = (len(self._rows), 1, self._rows.shape[1])

    def __getitem__(self, images: NDArray[np.int64], /) -> Vectors:
        """`(n,)` row indices → `(n, 1, dim)` float32, unit rows."""
        return unit_rows(self._rows[images])[:, np.newaxis]

    def digests(self, stage: Stage) -> Iterator[bytes]:
        """Yield the SHA-256 of each row.

        Raises:
            CatalogueError: a row is zero or not finite.
        """
        for start in range(0, len(self._rows), _CHUNK):
            rows = np.ascontiguousarray(self._rows[start : start + _CHUNK])
            try:
                unit_rows(rows)
            except ValueError:
                bad = start + int(np.argmax(~(np.isfinite(rows).all(axis=1) & rows.any(axis=1))))
                raise CatalogueError(
                    f"row {bad} of {self.path} (counted from 0) is zero or not finite: it can't be normalised"
                ) from None
            for row in rows:
                yield hashlib.sha256(row.tobytes()).digest()
                stage.advance()


def read_precomputed(
    embeddings: Path, items: Path, backbone: ExportedBackbone, stage: Stage, spool_directory: Path | None = None
) -> EmbeddedCatalogue:
    """Combine embeddings and items, as if the backbone had just embedded them.

    Args:
        embeddings: `.npy`, `(n, dim)` floating point; rows need not be normalised.
        items: `.jsonl`, one line per row: `item_id`, `category`, metadata, and `image` if there is one.
        backbone: the encoder of the embeddings, as the user says; else `UNKNOWN_BACKBONE`.
        stage: advanced once per row.
        spool_directory: the directory for metadata; None for the system's temporary directory.

    Raises:
        CatalogueError: a file can't be used, or the two don't match.
        StorageError: the metadata can't be written.
    """
    views = PrecomputedViews(embeddings)
    catalogue_items, image_items = _items(items, MetadataSpool(spool_directory))
    if len(image_items) != views.shape[0]:
        raise CatalogueError(
            f"{items} describes {len(image_items)} rows; {embeddings} has {views.shape[0]}: expected one line per row,"
            " in the same order"
        )
    digests = tuple(views.digests(stage))
    recipe = f"{GIVEN_RECIPE}{embedder_id(backbone.model)} | {views.shape[2]}"
    return EmbeddedCatalogue(catalogue_items, image_items, digests, views, (), len(image_items), recipe)


def _items(path: Path, spool: MetadataSpool) -> tuple[tuple[Item, ...], NDArray[np.int64]]:
    """Read the items, and the item number of each row."""
    if path.suffix.lower() not in (".jsonl", ".ndjson", ".json"):
        raise CatalogueError(f"--items {path} is not a .jsonl file")
    items: list[Item] = []
    numbers: dict[str, int] = {}
    image_items: list[int] = []
    for row, entry in enumerate(read_entries(path)):
        try:
            item = item_of_row(entry, row)
        except EntryError as error:
            raise CatalogueError(f"{path}, row {entry.row}: {error}") from error
        number = numbers.setdefault(item.item_id, len(items))
        if number == len(items):
            items.append(spooled(item, spool))
        elif number == len(items) - 1 and item.category == items[-1].category:
            items[-1] = replace(items[-1], images=(*items[-1].images, *item.images))
        else:
            raise CatalogueError(
                f"{path}, row {entry.row}: the item {item.item_id!r} occurs earlier, in another category or not"
                " directly before: the rows of an item must be adjacent"
            )
        image_items.append(number)
    return tuple(items), np.array(image_items, dtype=np.int64)


def require_same_dim(backbone: ExportedBackbone, backbone_dim: int, dim: int) -> None:
    """Reject a backbone that can't have made the embeddings.

    Raises:
        SettingsError: its embeddings have another dimension.
    """
    if backbone_dim != dim:
        raise SettingsError(
            f"--backbone {backbone.name} makes embeddings of {backbone_dim} dimensions; those given have {dim}: leave"
            " --backbone out, and queries by image will be rejected"
        )
