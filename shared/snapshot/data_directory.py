"""The data directory: where everything in it lies, and which snapshot is `current`.

DATA/current                        one line: the id of the published snapshot
DATA/published                      the ids of those that are or were published, a line each
DATA/build.json                     the settings of the last published build, for `make reindex`
DATA/skipped.jsonl                  what the last build left out, published or not
DATA/collections                    the collections of Milvus that were begun here, with their stores, a line each
DATA/cache/embeddings.sqlite        what was embedded before
DATA/lock                           locked by the build that is writing
DATA/snapshots/<id>/manifest.json   …and the files that `SnapshotPaths` names
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from shared.errors import SnapshotError, SnapshotMissing
from shared.files.regular_file import read_regular
from shared.index.partition import is_approximate
from shared.snapshot.checksums import sample_of, sha256_of

SAMPLED_FROM_BYTES = 64 << 20
_CURRENT_BYTES = 16 * 1024
_ID_SHOWN = 200
_ID = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}", re.ASCII)


@dataclass(frozen=True)
class SnapshotPaths:
    """The files of one snapshot, spelled once for writer and reader."""

    root: Path

    @property
    def boundary(self) -> Path:
        """The directory that links in a snapshot may not lead out of: that of all snapshots."""
        return self.root.parent

    @property
    def manifest(self) -> Path:
        """How the snapshot describes itself."""
        return self.root / "manifest.json"

    @property
    def embedder(self) -> Path:
        """The exported base."""
        return self.root / "embedder.tflite"

    @property
    def classifier(self) -> Path:
        """The head."""
        return self.root / "classifier.npz"

    @property
    def validated_classifier(self) -> Path:
        """The head before it learned the held-out items, for the next build; not there where it is the same."""
        return self.root / "classifier.judged.npz"

    @property
    def items(self) -> Path:
        """Items, their images and metadata."""
        return self.root / "items.sqlite"

    @property
    def partitions(self) -> Path:
        """One index a category."""
        return self.root / "partitions"

    @property
    def report(self) -> Path:
        """What the build has to say: the summary, and the entries that it left out."""
        return self.root / "report"

    def files(self) -> list[Path]:
        """Every file, sorted."""
        return sorted(path for path in self.root.rglob("*") if path.is_file())

    def checksums(self) -> dict[str, str]:
        """SHA-256 of every file but the manifest, by path relative to the snapshot."""
        return {self._name(path): sha256_of(path) for path in self.files() if path != self.manifest}

    def samples(self) -> dict[str, str]:
        """Of large files of vectors, what `sample_of` gives, by path relative to the snapshot."""
        return {self._name(path): sample_of(path) for path in self.files() if self._is_sampled(path)}

    def _is_sampled(self, path: Path) -> bool:
        """A changed vector gives a wrong score, while the other files could lead astray whoever reads them."""
        vectors = path.parent == self.partitions and path.name.endswith(".faiss")
        return vectors and not is_approximate(path.name) and path.stat().st_size > SAMPLED_FROM_BYTES

    def _name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


@dataclass(frozen=True)
class DataDirectory:
    """What `--data` and `PARECIDO_DATA` name."""

    root: Path

    @property
    def snapshots(self) -> Path:
        """All snapshots."""
        return self.root / "snapshots"

    @property
    def current(self) -> Path:
        """The one-line file that names the published snapshot."""
        return self.root / "current"

    @property
    def published(self) -> Path:
        """The ids of the snapshots that are or were published; the others were held back."""
        return self.root / "published"

    @property
    def build_settings(self) -> Path:
        """The remembered settings."""
        return self.root / "build.json"

    @property
    def collections(self) -> Path:
        """The collections of Milvus that were begun here."""
        return self.root / "collections"

    @property
    def tuning(self) -> Path:
        """How far fine-tuning was when it was killed."""
        return self.root / "tuning.checkpoint"

    @property
    def cache(self) -> Path:
        """What was embedded before."""
        return self.root / "cache" / "embeddings.sqlite"

    @property
    def shards(self) -> Path:
        """What the workers of a cluster have embedded, until it is in the cache."""
        return self.root / "shards"

    @property
    def lock(self) -> Path:
        """Locked by whoever writes here; says who that is, or was."""
        return self.root / "lock"

    @property
    def skipped(self) -> Path:
        """What the last build left out, whether it was published or not."""
        return self.root / "skipped.jsonl"

    def ids(self) -> list[str]:
        """The ids of complete snapshots, oldest first."""
        if not self.snapshots.is_dir():
            return []
        return sorted(path.parent.name for path in self.snapshots.glob("[!.]*/manifest.json"))

    def paths(self, snapshot_id: str) -> SnapshotPaths:
        """Where a snapshot's files lie."""
        return SnapshotPaths(self.snapshots / snapshot_id)

    def current_id(self) -> str:
        """The id of the published snapshot.

        Raises:
            SnapshotMissing: nothing is published here.
            SnapshotError: `current` names something that is no snapshot.
        """
        try:
            snapshot_id = read_regular(self.current, _CURRENT_BYTES, self.root).decode("utf-8").strip()
        except (FileNotFoundError, NotADirectoryError):
            raise SnapshotMissing(
                f"nothing is published in {self.root}: "
                f"run `python -m indexer build --catalogue PATH --data {self.root}`"
            ) from None
        except (OSError, UnicodeDecodeError, SnapshotError) as error:
            raise SnapshotError(f"{self.current} can't be read: {error}") from error
        if not _ID.fullmatch(snapshot_id) or not os.path.lexists(self.paths(snapshot_id).manifest):
            raise SnapshotError(
                f"{self.current} names {snapshot_id[:_ID_SHOWN]!r}, which is no snapshot in {self.snapshots}"
            )
        return snapshot_id
