"""The data directory: the paths of everything in it, and the id of the `current` snapshot.

DATA/current                        one line: the id of the published snapshot
DATA/published                      the ids of the snapshots that are or were published, one per line
DATA/build.json                     the settings of the last published build, for `make reindex`
DATA/skipped.jsonl                  the catalogue entries that the last build skipped, published or not
DATA/collections                    the Milvus collections created from here, with their stores, one per line
DATA/cache/embeddings.sqlite        the embedding cache
DATA/lock                           locked by the build that is writing
DATA/snapshots/<id>/manifest.json   …and the files that `SnapshotPaths` names
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from shared.errors import SnapshotError, SnapshotMissing
from shared.files.regular_file import read_regular
from shared.index.partition_files import is_approximate
from shared.snapshot.checksums import sampled_sha256_of, sha256_of

SAMPLED_FROM_BYTES = 64 << 20
_MAX_CURRENT_BYTES = 16 * 1024
_SHOWN_CHARS = 200
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}", re.ASCII)


@dataclass(frozen=True)
class SnapshotPaths:
    """The paths of one snapshot's files, for writer and reader."""

    root: Path

    @property
    def boundary(self) -> Path:
        """The directory of all snapshots, which links in a snapshot must not leave."""
        return self.root.parent

    @property
    def manifest(self) -> Path:
        """The manifest."""
        return self.root / "manifest.json"

    @property
    def embedder(self) -> Path:
        """The exported backbone."""
        return self.root / "embedder.tflite"

    @property
    def classifier(self) -> Path:
        """The classifier head, fitted on all items."""
        return self.root / "classifier.npz"

    @property
    def validated_classifier(self) -> Path:
        """The head fitted without the held-out items by earlier versions, which held out only some, once."""
        return self.root / "classifier.judged.npz"

    @property
    def projection(self) -> Path:
        """The projection of base embeddings; missing if they are searched as they are."""
        return self.root / "projection.npz"

    @property
    def learned_words(self) -> Path:
        """For the next build: which words were learned, and the projections that have not learned one fold each."""
        return self.root / "words.learned.npz"

    @property
    def text_encoder(self) -> Path:
        """The encoder of texts; missing if the catalogue says nothing of its items."""
        return self.root / "text_encoder.npz"

    @property
    def fold_classifiers(self) -> Path:
        """The heads that have each not learned one fold, for the next build; missing if nothing is held out."""
        return self.root / "classifier.folds.npz"

    @property
    def folds(self) -> Path:
        """The fold of each image, for the next build."""
        return self.root / "folds.npz"

    @property
    def lexical_index(self) -> Path:
        """The items by the words that describe them; missing as `text_encoder`."""
        return self.root / "words.sqlite"

    @property
    def items(self) -> Path:
        """The items, their images and metadata."""
        return self.root / "items.sqlite"

    @property
    def partitions(self) -> Path:
        """One index per category."""
        return self.root / "partitions"

    @property
    def report(self) -> Path:
        """The build report: the summary, and the skipped entries."""
        return self.root / "report"

    def files(self) -> list[Path]:
        """Every file, sorted."""
        return sorted(path for path in self.root.rglob("*") if path.is_file())

    def checksums(self) -> dict[str, str]:
        """SHA-256 of every file but the manifest, by path relative to the snapshot."""
        return {self._name(path): sha256_of(path) for path in self.files() if path != self.manifest}

    def samples(self) -> dict[str, str]:
        """`sampled_sha256_of` every large file of vectors, by path relative to the snapshot."""
        return {self._name(path): sampled_sha256_of(path) for path in self.files() if self._is_sampled(path)}

    def _is_sampled(self, path: Path) -> bool:
        """Vectors only: a damaged vector causes a wrong score, damage to other files could crash their readers."""
        is_index = path.parent == self.partitions and path.name.endswith(".faiss")
        return is_index and not is_approximate(path.name) and path.stat().st_size > SAMPLED_FROM_BYTES

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


@dataclass(frozen=True)
class DataDirectory:
    """The paths of the directory that `--data` and `PARECIDO_DATA` name."""

    root: Path

    @property
    def snapshots(self) -> Path:
        """The directory of all snapshots."""
        return self.root / "snapshots"

    @property
    def current(self) -> Path:
        """The one-line file that names the published snapshot."""
        return self.root / "current"

    @property
    def published(self) -> Path:
        """The ids of the snapshots that are or were published; the gate held back the others."""
        return self.root / "published"

    @property
    def build_settings(self) -> Path:
        """The settings of the last published build."""
        return self.root / "build.json"

    @property
    def collections(self) -> Path:
        """The Milvus collections created from here."""
        return self.root / "collections"

    @property
    def tuning(self) -> Path:
        """The checkpoint of an interrupted fine-tuning."""
        return self.root / "tuning.checkpoint"

    @property
    def cache(self) -> Path:
        """The embedding cache."""
        return self.root / "cache" / "embeddings.sqlite"

    @property
    def shards(self) -> Path:
        """Embeddings from the workers of a cluster, until they are in the cache."""
        return self.root / "shards"

    @property
    def lock(self) -> Path:
        """The lock of the process that writes here; it names that process."""
        return self.root / "lock"

    @property
    def skipped(self) -> Path:
        """The catalogue entries that the last build skipped, published or not."""
        return self.root / "skipped.jsonl"

    def ids(self) -> list[str]:
        """The ids of complete snapshots, oldest first."""
        if not self.snapshots.is_dir():
            return []
        return sorted(path.parent.name for path in self.snapshots.glob("[!.]*/manifest.json"))

    def paths(self, snapshot_id: str) -> SnapshotPaths:
        """The paths of a snapshot's files."""
        return SnapshotPaths(self.snapshots / snapshot_id)

    def current_id(self) -> str:
        """The id of the published snapshot.

        Raises:
            SnapshotMissing: nothing is published here.
            SnapshotError: `current` does not name a snapshot.
        """
        try:
            snapshot_id = read_regular(self.current, _MAX_CURRENT_BYTES, self.root).decode("utf-8").strip()
        except (FileNotFoundError, NotADirectoryError):
            raise SnapshotMissing(
                f"nothing is published in {self.root}: "
                f"run `python -m indexer build --catalogue PATH --data {self.root}`"
            ) from None
        except (OSError, UnicodeDecodeError, SnapshotError) as error:
            raise SnapshotError(f"{self.current} can't be read: {error}") from error
        if not _ID.fullmatch(snapshot_id) or not os.path.lexists(self.paths(snapshot_id).manifest):
            raise SnapshotError(
                f"{self.current} names {snapshot_id[:_SHOWN_CHARS]!r}, which is not a snapshot in {self.snapshots}"
            )
        return snapshot_id
