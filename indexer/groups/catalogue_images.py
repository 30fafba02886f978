"""The embeddings of a catalogue's original images, for the search of their neighbours."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.embedding.views import CachedViews
from indexer.files.durable_write import storage_error
from indexer.groups.nearest_images import MAX_EXACT
from shared.vectors import Vectors

_BLOCK = 4096


@dataclass(frozen=True)
class CatalogueImages:
    """Every original image of a catalogue, by its index there.

    Attributes:
        columns: `(n_images,)` int64, the index of each one's category among the catalogue's.
        rows: the embeddings, or the catalogue that they are read from.
    """

    columns: NDArray[np.int64]
    rows: Vectors | EmbeddedCatalogue

    @classmethod
    def of(cls, embedded: EmbeddedCatalogue, scratch: Path | None = None) -> "CatalogueImages":
        """Prepare reading.

        The images of a large catalogue are read from all over, some of them many times. From the embedding cache that
        takes far too long, so they are copied to a file first, which has no name and disappears with this object.

        Args:
            embedded: the catalogue.
            scratch: the directory of that file; None for the system's temporary directory.

        Raises:
            StorageError: the file can't be written.
        """
        n_images = len(embedded.digests)
        columns = embedded.columns(np.arange(n_images), embedded.categories)
        if n_images <= MAX_EXACT or not isinstance(embedded.views, CachedViews):
            return cls(columns, embedded)
        shape = (n_images, embedded.views.shape[2])
        where = Path(tempfile.gettempdir()) if scratch is None else scratch
        try:
            with tempfile.TemporaryFile(dir=where) as file:
                # Reserved, not just sparse: on a full disk, writing to a mapped hole would end the process.
                os.posix_fallocate(file.fileno(), 0, int(np.prod(shape)) * np.dtype(np.float32).itemsize)
                rows = np.memmap(file, np.float32, "r+", shape=shape)
        except OSError as error:
            raise storage_error("the embeddings can't be copied for the search of near images", where, error) from error
        for images, vectors in cls(columns, embedded).blocks():
            rows[images] = vectors
        return cls(columns, rows)

    def __len__(self) -> int:
        """The number of images."""
        return len(self.columns)

    def embeddings(self, images: NDArray[np.int64]) -> Vectors:
        """`(n,)` image indices → `(n, dim)` float32, unit rows."""
        if not isinstance(self.rows, EmbeddedCatalogue):
            return np.asarray(self.rows[images])
        result = np.empty((len(images), self.rows.views.shape[2]), dtype=np.float32)
        for start in range(0, len(images), _BLOCK):  # each image is read with all its views
            part = slice(start, start + _BLOCK)
            result[part] = self.rows.originals_of(images[part])
        return result

    def blocks(self, step: int = 1) -> Iterator[tuple[NDArray[np.int64], Vectors]]:
        """Yield all images, or each `step`-th, in blocks: indices `(n,)` and embeddings `(n, dim)` float32."""
        for start in range(0, len(self), _BLOCK * step):
            images = np.arange(start, min(start + _BLOCK * step, len(self)), step)
            yield images, self.embeddings(images)
