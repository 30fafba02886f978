"""The published snapshot, as far as the next build can take it over."""

import hashlib
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
from shared.catalogue.item_store import ItemStore
from shared.errors import ParecidoError, SnapshotMissing
from shared.images.preprocessing import PREPROCESSING, PREPROCESSINGS
from shared.manifest import CategoryEntry, Manifest
from shared.snapshot.checksums import sha256_of
from shared.snapshot.data_directory import DataDirectory, SnapshotPaths
from shared.snapshot.verify_files import verify_files


@dataclass(frozen=True)
class PublishedSnapshot:
    """A verified snapshot on the disk; nothing of it is open."""

    paths: SnapshotPaths
    manifest: Manifest

    def model(self, backbone: str, weights: Path | None) -> bytes | None:
        """The exported base, if it is the one that a build wants.

        Args:
            backbone: its name.
            weights: the weights file, where the user gave one.
        """
        same_weights = weights is None or (weights.is_file() and sha256_of(weights) in self.manifest.weights)
        if self.manifest.backbone != backbone or not same_weights:
            return None
        return self.paths.embedder.read_bytes()

    def heads(self) -> Heads:
        """The head, as it is served and as it was judged."""
        return Heads.open(self.paths)

    def entry(self, category: str) -> CategoryEntry | None:
        """What the manifest says of a category."""
        return next((entry for entry in self.manifest.categories if entry.name == category), None)

    @cached_property
    def image_keys(self) -> NDArray[np.uint64]:
        """Every image, by `image_keys`."""
        with closing(ItemStore(self.paths.items)) as items:
            return image_keys(items.images())

    @cached_property
    def can_filter(self) -> bool:
        """Whether it has an index of the metadata: those of older versions have not."""
        with closing(ItemStore(self.paths.items)) as items:
            return items.can_filter


def is_tuned(published: PublishedSnapshot) -> bool:
    """Whether the published base is another one than as pretrained."""
    return bool((published.manifest.tuning or {}).get("improved"))


def snapshot_states(paths: SnapshotPaths) -> States:
    """Every item of a snapshot on the disk, for comparing; the metadata are in a temporary file meanwhile.

    Raises:
        StorageError: that can't be written.
    """
    spool = MetadataSpool()
    with closing(ItemStore(paths.items)) as items:
        return states((spooled(indexed.item, spool), indexed.digests) for indexed in items)


def image_keys(images: Iterable[tuple[str, bytes]]) -> NDArray[np.uint64]:
    """Images by category and SHA-256, in eight bytes each: enough to count those that two catalogues share.

    Returns:
        `(n,)` uint64, ascending, each once.
    """
    keys = (hashlib.sha256(b"\0".join([category.encode(), digest])).digest()[:8] for category, digest in images)
    return np.unique(np.frombuffer(b"".join(keys), dtype=np.uint64))


def find_published(data: DataDirectory, reporter: Reporter) -> PublishedSnapshot | None:
    """The published snapshot; None where there is none, or none that this version can use, which is said."""
    try:
        paths = data.paths(data.current_id())
        manifest = Manifest.read(paths.manifest)
        if manifest.preprocessing not in PREPROCESSINGS:
            reporter.say(
                f"nothing of the published snapshot is taken over: its preprocessing is {manifest.preprocessing!r}"
            )
            return None
        verify_files(paths, manifest)
    except SnapshotMissing:
        return None
    except ParecidoError as error:
        reporter.say(f"nothing of the published snapshot is taken over: {error}")
        return None
    return PublishedSnapshot(paths, manifest)


def preprocessing_of(data: DataDirectory) -> str:
    """The preprocessing of a build: that of the published snapshot, or nothing in the cache would fit any more.

    Returns:
        One of `PREPROCESSINGS`; the newest where nothing is published, or under a name that is no longer served.
    """
    try:
        name = Manifest.read(data.paths(data.current_id()).manifest).preprocessing
    except ParecidoError:
        return PREPROCESSING
    return name if name in PREPROCESSINGS else PREPROCESSING
