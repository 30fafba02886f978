"""Photos whose categories are known, as queries: a folder of photos, or held-out images of the catalogue."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexer.catalogue.reader import read_catalogue
from indexer.classifier.held_out import HeldOut
from indexer.console.progress import Reporter
from indexer.embedding.decoding import decode_pixels
from indexer.embedding.embed_catalogue import no_usable_image
from indexer.embedding.image_tasks import apply_to_images
from indexer.files.location import read_limited
from shared.errors import CatalogueError
from shared.images.limits import ImageLimits
from shared.retrieval.query_pictures import QueryPictures, image_views
from shared.snapshot.snapshot import Snapshot
from shared.vectors import Vectors


@dataclass(frozen=True)
class LabelledPhotos:
    """Photos to evaluate a snapshot on.

    Attributes:
        paths: the files.
        truth: the category of each photo.
        queries: one for each photo.
        skipped: number of further photos that could not be read.
        folds: `(n,)` int64, the fold of each photo, whose head evaluates it; None for photos from elsewhere.
        groups: `(n,)` int64, the same number for photos of one group; None if each is independent.
    """

    paths: tuple[Path, ...]
    truth: tuple[str, ...]
    queries: tuple[QueryPictures, ...]
    skipped: int = 0
    folds: NDArray[np.int64] | None = None
    groups: NDArray[np.int64] | None = None

    @classmethod
    def read(cls, snapshot: Snapshot, path: Path, threads: int, reporter: Reporter) -> "LabelledPhotos":
        """Read photos and embed them as the service embeds uploads.

        Args:
            snapshot: to search.
            path: of a catalogue (folders, CSV, JSON lines) whose categories are the truth.
            threads: number of photos that are embedded at once.
            reporter: receives progress.

        Raises:
            CatalogueError: not one photo can be read.
        """
        catalogue = read_catalogue(path)

        def embed(file: Path, name: str) -> QueryPictures:
            return embed_query(snapshot, read_limited(file, ImageLimits()), name)

        with reporter.stage("embed queries", sum(len(item.images) for item in catalogue.items)) as stage:
            tasks, queries, problems = apply_to_images(catalogue, embed, threads, stage)
        if not tasks:
            raise CatalogueError(no_usable_image(catalogue, problems))
        return cls(
            paths=tuple(catalogue.image_root / task.image for task in tasks),
            truth=tuple(catalogue.items[task.number].category for task in tasks),
            queries=tuple(queries),
            skipped=len(catalogue.problems) + len(problems),
        )

    @classmethod
    def of_held_out(cls, held_out: HeldOut, image_root: Path) -> "LabelledPhotos":
        """Take held-out images of the snapshot's own catalogue; each query excludes the items of its own group."""
        embedded = held_out.embedded
        numbers = embedded.image_items[held_out.images]
        positions = held_out.images - np.searchsorted(embedded.image_items, numbers)  # of each image within its item
        items = [embedded.items[number] for number in numbers]
        return cls(
            paths=tuple(image_root / item.images[position] for item, position in zip(items, positions, strict=True)),
            truth=tuple(item.category for item in items),
            queries=tuple(
                QueryPictures(vectors[np.newaxis], excluded_items=own)
                for vectors, own in zip(held_out.queries, held_out.items_beside(), strict=True)
            ),
            folds=held_out.fold_of,
            groups=held_out.group_of,
        )

    def __len__(self) -> int:
        """Return the number of photos."""
        return len(self.truth)

    @cached_property
    def embeddings(self) -> Vectors:
        """`(n, dim)` float32, unit rows: of the photos themselves."""
        return np.concatenate([query.vectors[:1] for query in self.queries])


def embed_query(snapshot: Snapshot, data: bytes, name: str = "the image") -> QueryPictures:
    """Make a query of the bytes of an image file, as the service does of an upload.

    Args:
        snapshot: to search.
        data: the bytes of the file.
        name: of the image, for messages.

    Raises:
        ImageError: the image can't be used.
    """
    pixels = decode_pixels(data, ImageLimits(), name, snapshot.preprocessing)
    return QueryPictures.of_image(snapshot, data, snapshot.embedder.embed(image_views(pixels)))
