"""The published snapshot, as far as the next build can reuse it."""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexer.catalogue.diff import States, states
from indexer.catalogue.metadata_spool import MetadataSpool, spooled
from indexer.console.progress import Reporter
from indexer.snapshots.classifier_heads import Heads
from indexer.snapshots.stored_folds import StoredFolds, keys_of_images
from shared.catalogue.item_store import ItemStore
from shared.errors import ParecidoError, SnapshotMissing
from shared.images.preprocessing import DEFAULT_PREPROCESSING, Preprocessing
from shared.manifest import CategoryEntry, Manifest
from shared.snapshot.checksums import sha256_of
from shared.snapshot.data_directory import DataDirectory, SnapshotPaths
from shared.snapshot.verify_files import verify_files


@dataclass(frozen=True)
class PublishedSnapshot:
    """A verified snapshot on the disk; none of its files is open."""

    paths: SnapshotPaths
    manifest: Manifest

    def model(self, backbone: str, weights: Path | None) -> bytes | None:
        """The bytes of the exported backbone, if it is the requested one.

        Args:
            backbone: the requested name.
            weights: the requested weights file; None for any.
        """
        same_weights = weights is None or (weights.is_file() and sha256_of(weights) in self.manifest.weights)
        if self.manifest.backbone != backbone or not same_weights:
            return None
        return self.paths.embedder.read_bytes()

    def heads(self) -> Heads:
        """The classifier heads."""
        return Heads.open(self.paths)

    @cached_property
    def folds(self) -> StoredFolds | None:
        """The folds of its images; None if it was built by an earlier version, which held out random items."""
        return StoredFolds.open(self.paths.folds)

    @property
    def has_folds(self) -> bool:
        """True unless it was built by an earlier version."""
        return self.paths.folds.exists()

    def has_not_learned(self, keys: NDArray[np.uint64], folds: NDArray[np.int64]) -> NDArray[np.bool_]:
        """`(n,)` bool: True for images that the heads of these folds have not learned here: new ones, or held out.

        Args:
            keys: `(n,)`, as by `keys_of_images`.
            folds: `(n,)`, of the heads.
        """
        known = np.full(len(keys), -1) if self.folds is None else self.folds.folds_of(keys)
        not_learned: NDArray[np.bool_] = (known == folds) | ~np.isin(keys, self.image_keys)
        return not_learned

    def entry(self, category: str) -> CategoryEntry | None:
        """The manifest's entry of a category."""
        return next((entry for entry in self.manifest.categories if entry.name == category), None)

    @cached_property
    def image_keys(self) -> NDArray[np.uint64]:
        """The `image_keys` of all images."""
        with closing(ItemStore(self.paths.items)) as items:
            return image_keys(items.images())

    @cached_property
    def can_filter(self) -> bool:
        """True if it has an index of the metadata, which snapshots of older versions lack."""
        with closing(ItemStore(self.paths.items)) as items:
            return items.can_filter


def is_tuned(published: PublishedSnapshot) -> bool:
    """True if the published backbone was fine-tuned, and not left as pretrained."""
    return bool((published.manifest.tuning or {}).get("improved"))


def snapshot_states(paths: SnapshotPaths) -> States:
    """The states of all items of a snapshot on the disk; the metadata lie in a temporary file.

    Raises:
        StorageError: the temporary file can't be written.
    """
    spool = MetadataSpool()
    with closing(ItemStore(paths.items)) as items:
        return states((spooled(indexed.item, spool), indexed.digests) for indexed in items)


def image_keys(images: Iterable[tuple[str, bytes]]) -> NDArray[np.uint64]:
    """The `keys_of_images`, `(n,)` uint64, ascending and without duplicates: to count those two catalogues share."""
    return np.unique(keys_of_images(images))


def find_published(data: DataDirectory, reporter: Reporter) -> PublishedSnapshot | None:
    """The published snapshot; None if there is none, or, with a message, none that this version can use."""
    try:
        paths = data.paths(data.current_id())
        manifest = Manifest.read(paths.manifest)
        Preprocessing.parse(manifest.preprocessing)
        verify_files(paths, manifest)
    except SnapshotMissing:
        return None
    except ParecidoError as error:
        reporter.say(f"nothing of the published snapshot is reused: {error}")
        return None
    except ValueError as error:
        reporter.say(
            f"nothing of the published snapshot is reused: its preprocessing is {manifest.preprocessing!r}; {error}"
        )
        return None
    return PublishedSnapshot(paths, manifest)


def preprocessing_of(data: DataDirectory, side_px: int | None = None) -> Preprocessing:
    """The preprocessing of a build: that of the published snapshot, for which the cached embeddings were made.

    Args:
        data: the data directory.
        side_px: the side of the embedder's input; None for the published one.

    Returns:
        The newest for another side, and where nothing is published, or by a preprocessing of the past.
    """
    try:
        preprocessing = Preprocessing.parse(Manifest.read(data.paths(data.current_id()).manifest).preprocessing)
    except (ParecidoError, ValueError):
        preprocessing = DEFAULT_PREPROCESSING
    if side_px is None or side_px == preprocessing.side_px:
        return preprocessing
    return Preprocessing(side_px)
