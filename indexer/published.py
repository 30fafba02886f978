"""The published snapshot, as far as the next build can take it over."""

from dataclasses import dataclass
from pathlib import Path

from indexer.report import Reporter
from shared.catalogue import ItemStore
from shared.classifier import Classifier
from shared.errors import ParecidoError, SnapshotMissing
from shared.images import PREPROCESSING
from shared.manifest import CategoryEntry, Manifest
from shared.partition import Partition
from shared.snapshot import DataDirectory, SnapshotPaths, check_files, sha256_of


@dataclass(frozen=True)
class Published:
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

    def classifier(self) -> Classifier:
        """The head."""
        return Classifier.open(self.paths.classifier)

    def partition(self, category: str, content: str) -> Partition | None:
        """A category's partition, if it was made of just this content."""
        entry = self.entry(category)
        return Partition.open(category, self.paths.partitions) if entry and entry.content == content else None

    def entry(self, category: str) -> CategoryEntry | None:
        """What the manifest says of a category."""
        return next((entry for entry in self.manifest.categories if entry.name == category), None)

    def images(self) -> set[tuple[str, bytes]]:
        """Every image by category and SHA-256."""
        items = ItemStore(self.paths.items)
        try:
            return set(items.images())
        finally:
            items.close()


def find_published(data: DataDirectory, reporter: Reporter) -> Published | None:
    """The published snapshot; None where there is none, or none that this version can use, which is said."""
    try:
        paths = data.paths(data.current_id())
        manifest = Manifest.read(paths.manifest)
        if manifest.preprocessing != PREPROCESSING:
            return None
        check_files(paths, manifest)
    except SnapshotMissing:
        return None
    except ParecidoError as error:
        reporter.say(f"nothing of the published snapshot is taken over: {error}")
        return None
    return Published(paths, manifest)
