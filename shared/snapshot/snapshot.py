"""Open a snapshot and verify it: all that answering a query needs.

Checksums and the seal show damage. They do not show who wrote the files, so that each is also checked for its sense
before anything follows what is in it: what `Snapshot.open` does in any case, and hardly takes time; what
`Snapshot.check_content` does besides, which looks at every item and every vector.
"""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from shared.catalogue.items import ItemStore
from shared.catalogue.text_forms import text_forms
from shared.deadline import NO_DEADLINE, Deadline
from shared.errors import SnapshotError, UnknownCategory
from shared.images.decode import PREPROCESSINGS
from shared.index.category_search import CategorySearch
from shared.index.partition import Partition, check_numbers, index_files, rows_file
from shared.manifest import Manifest
from shared.milvus.address import MilvusAccess
from shared.milvus.collection import MilvusCollection
from shared.model.classifier import Classifier
from shared.model.embedder import Embedder, LiteRtEmbedder, NoEmbedder, check_golden
from shared.shown import shown
from shared.snapshot.checksums import sample_of, sha256_of
from shared.snapshot.data_directory import SnapshotPaths

_SHOWN = 200


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
        deadline: Deadline = NO_DEADLINE,
    ) -> "Snapshot":
        """Open and verify a snapshot: checksums, the parts against the manifest, the golden embedding.

        Of large files of vectors only samples are read; `check_files` reads all.

        Args:
            paths: where it lies.
            interpreters: how many images are embedded at once at most; by default one a core.
            lone_threads: threads within one inference that runs alone.
            threads: where inferences run; None for the caller's thread.
            access: to Milvus, where the vectors are there; by default what the environment says.
            deadline: for all of it.

        Raises:
            SnapshotError: anything is missing, damaged, or doesn't fit this version.
            StoreUnavailable: the vectors are in Milvus, which does not answer, or is loading them.
        """
        manifest = Manifest.read(paths.manifest)
        _require_name(paths, manifest)
        embedder = partial(LiteRtEmbedder.open, paths.embedder, interpreters, lone_threads, threads)
        if manifest.store is None:
            return cls._open(paths, manifest, embedder, deadline)
        store = MilvusCollection.of(manifest, access)
        try:
            store.require_complete()  # first: it is tried again while Milvus is away, and reading all files takes long
            return cls._open(paths, manifest, embedder, deadline, store)
        except BaseException:
            store.close()
            raise

    @classmethod
    def _open(
        cls,
        paths: SnapshotPaths,
        manifest: Manifest,
        embedder: Callable[[], Embedder],
        deadline: Deadline,
        store: MilvusCollection | None = None,
    ) -> "Snapshot":
        require_listed(paths, manifest)
        check_files(paths, manifest, by_samples=True, deadline=deadline)
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
            items=ItemStore(paths.items, deadline),
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

    def check_content(self, paths: SnapshotPaths, deadline: Deadline = NO_DEADLINE) -> None:
        """Look at every item, image and vector: a million items take a few seconds.

        What this would find does no harm where it is not looked for: the request that meets it is refused.

        Args:
            paths: of the snapshot.
            deadline: for all of it.

        Raises:
            SnapshotError: it says what is wrong.
        """
        names = [entry.name for entry in self.manifest.categories]
        self.items.check(names, deadline)
        columns = {name: column for column, name in enumerate(names)}
        categories = np.fromiter((columns[name] for name in self.items.categories()), np.int32, len(self.items))
        rows: NDArray[np.int64] = np.fromiter(self.items.rows(), np.dtype((np.int64, 2)))
        for column, name in enumerate(names):
            part = self.partitions[name]
            if isinstance(part, Partition):
                part.check(self.items.n_numbers, all_vectors=True)
            if (categories[part.item_numbers()] != column).any():
                raise SnapshotError(f"the partition {name!r} shows items of another category")
            deadline.check(f"looking at {paths.root}")
        _check_images(paths, rows, categories, np.array([self.partitions[name].n_rows for name in names]))

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
        self.items.check()
        for entry in manifest.categories:
            part = self.partitions[entry.name]
            if isinstance(part, Partition):
                part.check(self.items.n_numbers)
            else:
                check_numbers(entry.name, part.item_numbers(), self.items.n_numbers)
            if (part.n_rows, part.n_items, part.dim) != (entry.rows, entry.items, manifest.dim):
                found = f"{part.n_rows} rows of {part.n_items} items in {part.dim} dimensions"
                wanted = f"{entry.rows} rows of {entry.items} items in {manifest.dim} dimensions"
                raise SnapshotError(f"the partition {entry.name!r} holds {found}; the manifest says {wanted}")
        if manifest.golden:
            check_golden(self.embedder, np.asarray(manifest.golden, dtype=np.float32))


def check_files(
    paths: SnapshotPaths, manifest: Manifest, by_samples: bool = False, deadline: Deadline = NO_DEADLINE
) -> None:
    """Compare every file with its checksum in the manifest.

    Args:
        paths: of the snapshot.
        manifest: what it says of itself.
        by_samples: of large files of vectors, read only samples. Reading gigabytes would take longer than a service may
            take to start, and each of its workers would read them.
        deadline: for all of it.

    Raises:
        SnapshotError: a file is missing or damaged, or is not a regular file.
    """
    samples = manifest.samples if by_samples else {}

    def check(name: str, wanted: str) -> None:
        _check_file(paths, name, wanted, samples.get(name), deadline)

    try:
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashing lets other threads run
            for _ in pool.map(check, *zip(*manifest.checksums.items(), strict=True)):
                pass
    except OSError as error:
        raise SnapshotError(f"{error.filename} can't be read: {error.strerror}") from error


def _check_file(paths: SnapshotPaths, name: str, wanted: str, sample: str | None, deadline: Deadline) -> None:
    path = paths.root / name
    if path.is_dir() or not os.path.lexists(path):
        raise SnapshotError(f"{path} is missing")
    if sample is not None:
        if sample_of(path, paths.boundary) != sample:
            raise SnapshotError(f"{path} is damaged: a sample of it has changed")
    elif (found := sha256_of(path, paths.boundary, deadline)) != wanted:
        raise SnapshotError(f"{path} is damaged: its SHA-256 is {found}, wanted {wanted}")


def _require_name(paths: SnapshotPaths, manifest: Manifest) -> None:
    """Refuse the manifest of another snapshot; one that is being built has no name yet."""
    name = paths.root.name
    if not name.startswith(".") and manifest.snapshot_id != name:
        raise SnapshotError(f"{paths.manifest} is of the snapshot {manifest.snapshot_id[:_SHOWN]!r}; expected {name!r}")


def require_listed(paths: SnapshotPaths, manifest: Manifest) -> None:
    """Refuse a manifest without a checksum of a file that will be read, whether it has to be there or may be.

    Raises:
        SnapshotError: it names the file.
    """
    needed = {paths.items, paths.classifier}
    if manifest.golden:
        needed.add(paths.embedder)
    optional = {paths.validated_classifier}
    for entry in manifest.categories:
        needed.add(paths.partitions / rows_file(entry.name))
        vectors, *approximate = (paths.partitions / name for name in index_files(entry.name))
        optional.update(approximate)
        (needed if manifest.store is None else optional).add(vectors)
    for path in sorted(needed | {path for path in optional if os.path.lexists(path)}):
        if path.relative_to(paths.root).as_posix() not in manifest.checksums:
            raise SnapshotError(f"{paths.manifest} has no checksum of {path}")


def _check_images(
    paths: SnapshotPaths, rows: NDArray[np.int64], categories: NDArray[np.int32], n_rows: NDArray[np.int64]
) -> None:
    """Refuse images of items that there are not, and rows beyond the partition of the item's category.

    Args:
        paths: for messages.
        rows: `(n_images, 2)` int64, the item's number and the row.
        categories: `(n_items,)` int32, the column of each item's category.
        n_rows: `(n_categories,)`, of each partition.
    """
    numbers, within = rows.T
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(categories):
        raise SnapshotError(f"{paths.items} has images of items that there are not")
    if (np.bincount(numbers, minlength=len(categories)) == 0).any():
        raise SnapshotError(f"{paths.items} has an item without an image")
    if ((within < 0) | (within >= n_rows[categories[numbers]])).any():
        raise SnapshotError(f"{paths.items} has an image in a row beyond its partition")
