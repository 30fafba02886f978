"""Opening a snapshot, which verifies it: everything that answering a query needs."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from shared.catalogue import ItemStore
from shared.category_search import CategorySearch
from shared.checksums import sample_of, sha256_of
from shared.classifier import Classifier
from shared.data_directory import SnapshotPaths
from shared.embedder import Embedder, LiteRtEmbedder, NoEmbedder, check_golden
from shared.errors import SnapshotError, UnknownCategory
from shared.images import PREPROCESSINGS
from shared.manifest import Manifest
from shared.milvus_address import MilvusAccess
from shared.milvus_collection import MilvusCollection
from shared.partition import Partition
from shared.shown import shown
from shared.text_forms import text_forms


@dataclass(frozen=True)
class Snapshot:
    """An open snapshot: everything that answering a query needs."""

    manifest: Manifest
    embedder: Embedder
    classifier: Classifier
    items: ItemStore
    partitions: Mapping[str, CategorySearch]
    store: MilvusCollection | None = None

    @property
    def snapshot_id(self) -> str:
        """Its id."""
        return self.manifest.snapshot_id

    @classmethod
    def open(
        cls,
        paths: SnapshotPaths,
        interpreters: int | None = None,
        lone_threads: int = 1,
        threads: Executor | None = None,
        access: MilvusAccess | None = None,
    ) -> "Snapshot":
        """Open and verify a snapshot: checksums, the parts against the manifest, the golden embedding.

        Of large files of vectors only samples are read; `check_files` reads all.

        Args:
            paths: where it lies.
            interpreters: how many images are embedded at once at most; by default one a core.
            lone_threads: threads within one inference that runs alone.
            threads: where inferences run; None for the caller's thread.
            access: to Milvus, where the vectors are there; by default what the environment says.

        Raises:
            SnapshotError: anything is missing, damaged, or doesn't fit this version.
            StoreUnavailable: the vectors are in Milvus, which does not answer, or is loading them.
        """
        manifest = Manifest.read(paths.manifest)
        embedder = partial(LiteRtEmbedder.open, paths.embedder, interpreters, lone_threads, threads)
        if manifest.store is None:
            return cls._open(paths, manifest, embedder)
        store = MilvusCollection.of(manifest, access)
        try:
            store.require_complete()  # first: it is tried again while Milvus is away, and reading all files takes long
            return cls._open(paths, manifest, embedder, store)
        except BaseException:
            store.close()
            raise

    @classmethod
    def _open(
        cls,
        paths: SnapshotPaths,
        manifest: Manifest,
        embedder: Callable[[], Embedder],
        store: MilvusCollection | None = None,
    ) -> "Snapshot":
        check_files(paths, manifest, by_samples=True)
        if manifest.preprocessing not in PREPROCESSINGS:
            known = ", ".join(map(repr, PREPROCESSINGS))
            found = f"{manifest.preprocessing!r}; this version of Parecido uses {known}"
            raise SnapshotError(f"{paths.root} was built with the preprocessing {found}: build it again")
        names = tuple(entry.name for entry in manifest.categories)
        partitions: Mapping[str, CategorySearch] = (
            {name: Partition.open(name, paths.partitions) for name in names}
            if store is None
            else store.partitions(manifest, paths.partitions)
        )
        snapshot = cls(
            manifest=manifest,
            embedder=embedder() if manifest.golden else NoEmbedder(manifest.dim),
            classifier=Classifier.open(paths.classifier),
            partitions=partitions,
            items=ItemStore(paths.items),
            store=store,
        )
        try:
            snapshot._check_parts(names)
        except SnapshotError:
            snapshot.close()
            raise
        return snapshot

    def partition(self, category: str) -> CategorySearch:
        """The partition of a category, however its accents are composed.

        Raises:
            UnknownCategory: there is none of this name.
        """
        return self.partitions[self.category_named(category)]

    def category_named(self, name: str) -> str:
        """The category of a name as the snapshot spells it: the very same one first, then one with the same NFC.

        Raises:
            UnknownCategory: there is none of this name.
        """
        for form in text_forms(name):
            if form in self.partitions:
                return form
        raise UnknownCategory(f"there is no category {shown(name)}; GET /v1/categories lists them")

    def require_reachable(self) -> None:
        """Refuse where the vectors can't be searched now.

        Raises:
            StoreUnavailable: they are on a server that does not answer.
        """
        if self.store is not None:
            self.store.require_answer()

    def close(self) -> None:
        """Give back what the snapshot holds open."""
        self.items.close()
        if self.store is not None:
            self.store.close()

    def _check_parts(self, names: tuple[str, ...]) -> None:
        manifest = self.manifest
        if self.classifier.categories != names:
            raise SnapshotError(f"snapshot {self.snapshot_id}: classifier and manifest name different categories")
        if len(self.classifier.weights) != manifest.dim:
            found = f"{len(self.classifier.weights)} dimensions; the manifest says {manifest.dim}"
            raise SnapshotError(f"snapshot {self.snapshot_id}: the classifier takes embeddings of {found}")
        if len(self.items) != manifest.items:
            raise SnapshotError(
                f"snapshot {self.snapshot_id} has {len(self.items)} items; its manifest says {manifest.items}"
            )
        for entry in manifest.categories:
            part = self.partitions[entry.name]
            if (part.n_rows, part.n_items, part.dim) != (entry.rows, entry.items, manifest.dim):
                found = f"{part.n_rows} rows of {part.n_items} items in {part.dim} dimensions"
                wanted = f"{entry.rows} rows of {entry.items} items in {manifest.dim} dimensions"
                raise SnapshotError(f"the partition {entry.name!r} holds {found}; the manifest says {wanted}")
        if manifest.golden:
            check_golden(self.embedder, np.asarray(manifest.golden, dtype=np.float32))


def check_files(paths: SnapshotPaths, manifest: Manifest, by_samples: bool = False) -> None:
    """Compare every file with its checksum in the manifest.

    Args:
        paths: of the snapshot.
        manifest: what it says of itself.
        by_samples: of large files of vectors, read only samples. Reading gigabytes would take longer than a service may
            take to start, and each of its workers would read them.

    Raises:
        SnapshotError: a file is missing or damaged.
    """
    samples = manifest.samples if by_samples else {}

    def check(name: str, wanted: str) -> None:
        if name not in there:
            raise SnapshotError(f"{paths.root / name} is missing")
        if name in samples:
            if sample_of(there[name]) != samples[name]:
                raise SnapshotError(f"{there[name]} is damaged: a sample of it has changed")
        elif (found := sha256_of(there[name])) != wanted:
            raise SnapshotError(f"{there[name]} is damaged: its SHA-256 is {found}, wanted {wanted}")

    try:
        there = {path.relative_to(paths.root).as_posix(): path for path in paths.files()}
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashing lets other threads run
            for _ in pool.map(check, *zip(*manifest.checksums.items(), strict=True)):
                pass
    except OSError as error:
        raise SnapshotError(f"{error.filename} can't be read: {error.strerror}") from error
