"""An open snapshot: everything that answering a query needs.

Checksums and the seal detect damage, but not files written by somebody else, so the content is validated too before
anything relies on it: by `Snapshot.open` as far as it takes hardly any time, and entirely by `validate_content`.
"""

from collections.abc import Callable, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from shared.catalogue.item_store import ItemStore
from shared.deadline import NO_DEADLINE, Deadline
from shared.errors import SnapshotError, UnknownCategory
from shared.images.preprocessing import Preprocessing
from shared.index.category_search import CategorySearch
from shared.index.partition import Partition
from shared.index.partition_files import validate_item_numbers
from shared.manifest import Manifest
from shared.milvus.address import MilvusAccess
from shared.milvus.collection import MilvusCollection
from shared.model.classifier import Classifier
from shared.model.embedder import Embedder, LiteRtEmbedder, NoEmbedder
from shared.model.golden import check_golden
from shared.model.projection import ProjectedEmbedder, Projection
from shared.snapshot.data_directory import SnapshotPaths
from shared.snapshot.verify_files import require_checksums, require_own_manifest, verify_files
from shared.text.shorten import quoted
from shared.text.unicode_forms import unicode_forms
from shared.vectors import Vectors
from shared.words.catalogue_words import CatalogueWords

GIVEN_RECIPE = "given | "
"""The start of the recipe of embeddings that were made elsewhere."""


@dataclass(frozen=True)
class Snapshot:
    """An open, verified snapshot.

    Attributes:
        partitions: by the name of the category.
        embedder: makes embeddings as they are searched: projected, if there is a projection.
        store: the Milvus collection that holds the vectors; None if they are in files.
        projection: of base embeddings, learned from the catalogue's words; None if they are searched as they are.
        words: that describe its items; None if it can't be searched by text.
    """

    manifest: Manifest
    embedder: Embedder
    classifier: Classifier
    items: ItemStore
    partitions: Mapping[str, CategorySearch]
    store: MilvusCollection | None = None
    projection: Projection | None = None
    words: CatalogueWords | None = None

    @property
    def snapshot_id(self) -> str:
        """The id, as in the manifest."""
        return self.manifest.snapshot_id

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing of its images, and of queries."""
        return Preprocessing.parse(self.manifest.preprocessing)

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

        Only samples of large files of vectors are read; `verify_files` reads all.

        Args:
            paths: of the snapshot.
            interpreters: the most images that are embedded at once; by default one per core.
            lone_threads: threads for an inference that runs alone.
            threads: run the inferences; None for the caller's thread.
            access: to Milvus, if the vectors are there; by default from the environment.
            deadline: for all of it.

        Raises:
            SnapshotError: a file is missing or damaged, or is of another version.
            StoreUnavailable: the vectors are in Milvus, which does not answer, or is loading them.
        """
        manifest = Manifest.read(paths.manifest)
        require_own_manifest(paths, manifest)
        embedder = partial(LiteRtEmbedder.open, paths.embedder, interpreters, lone_threads, threads)
        if manifest.store is None:
            return cls._open(paths, manifest, embedder, deadline)
        store = MilvusCollection.from_manifest(manifest, access)
        try:
            store.require_complete()  # before the slow reading of files, since it is retried while Milvus is down
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
        require_checksums(paths, manifest)
        verify_files(paths, manifest, by_samples=True, deadline=deadline)
        try:
            Preprocessing.parse(manifest.preprocessing)
        except ValueError as error:
            raise SnapshotError(
                f"{paths.root} was built with the preprocessing {manifest.preprocessing!r}; {error}: build it again"
            ) from None
        names = tuple(entry.name for entry in manifest.categories)
        partitions: Mapping[str, CategorySearch] = (
            {name: Partition.open(name, paths.partitions) for name in names}
            if store is None
            else store.partitions(manifest, paths.partitions)
        )
        base = embedder() if manifest.golden else NoEmbedder(manifest.dim)
        projection = Projection.open(paths.projection) if paths.projection.exists() else None
        snapshot = cls(
            manifest=manifest,
            embedder=base if projection is None else ProjectedEmbedder(base, projection),
            classifier=replace(Classifier.open(paths.classifier), projection=projection),
            partitions=partitions,
            items=ItemStore(paths.items, deadline),
            store=store,
            projection=projection,
            words=CatalogueWords.open(paths.text_encoder, paths.lexical_index, deadline),
        )
        try:
            snapshot._check_parts(names)
        except SnapshotError:
            snapshot.close()
            raise
        return snapshot

    def given_embeddings(self, embeddings: Vectors) -> Vectors:
        """Project embeddings as a client gives them: base embeddings, if the catalogue's were given too.

        Otherwise clients have them from this snapshot's embedder or its export: they are projected already.
        """
        if self.projection is None or not self.has_given_embeddings:
            return embeddings
        return self.projection.apply(embeddings)

    @property
    def has_given_embeddings(self) -> bool:
        """True if the catalogue's embeddings were made elsewhere."""
        return self.manifest.recipe.startswith(GIVEN_RECIPE)

    def base_embeddings(self, embeddings: Vectors) -> Vectors:
        """Undo the projection of `(n, dim)` embeddings, up to rounding."""
        return embeddings if self.projection is None else self.projection.invert(embeddings)

    def partition(self, category: str) -> CategorySearch:
        """The partition of a category; see `category_named`.

        Raises:
            UnknownCategory: there is none of this name.
        """
        return self.partitions[self.category_named(category)]

    def category_named(self, name: str) -> str:
        """The category with this name, else with its NFC or NFD, as the snapshot spells it.

        Raises:
            UnknownCategory: there is none of this name.
        """
        for form in unicode_forms(name):
            if form in self.partitions:
                return form
        raise UnknownCategory(f"no category has the name {quoted(name)}; GET /v1/categories lists them")

    def require_reachable(self) -> None:
        """Check that the vectors can be searched now.

        Raises:
            StoreUnavailable: they are on a server that does not answer.
        """
        if self.store is not None:
            self.store.require_answer()

    def close(self) -> None:
        """Close the items, and the connection to the store."""
        self.items.close()
        if self.words is not None:
            self.words.close()
        if self.store is not None:
            self.store.close()

    def _check_parts(self, names: tuple[str, ...]) -> None:
        manifest = self.manifest
        if self.classifier.categories != names:
            raise SnapshotError(f"snapshot {self.snapshot_id}: classifier and manifest have different categories")
        if len(self.classifier.weights) != manifest.dim:
            raise SnapshotError(
                f"snapshot {self.snapshot_id}: the classifier takes embeddings of {len(self.classifier.weights)}"
                f" dimensions; expected {manifest.dim}, as in the manifest"
            )
        if self.projection is not None and self.projection.dim != manifest.dim:
            raise SnapshotError(
                f"snapshot {self.snapshot_id}: the projection takes {self.projection.dim} dimensions;"
                f" expected {manifest.dim}, as in the manifest"
            )
        if self.words is not None:
            self._check_words(self.words)
        if len(self.items) != manifest.items:
            raise SnapshotError(
                f"snapshot {self.snapshot_id} has {len(self.items)} items; its manifest expects {manifest.items}"
            )
        self.items.validate()
        self._check_partitions()
        if manifest.golden:
            if self.embedder.side_px != self.preprocessing.side_px:
                raise SnapshotError(
                    f"snapshot {self.snapshot_id}: the embedder takes images of {self.embedder.side_px} px; expected"
                    f" {self.preprocessing.side_px} px, as in the manifest's preprocessing: build it again"
                )
            check_golden(self.embedder, np.asarray(manifest.golden, dtype=np.float32))

    def _check_words(self, words: CatalogueWords) -> None:
        if (words.encoder.dim, words.index.n_items) != (self.manifest.dim, self.manifest.items):
            raise SnapshotError(
                f"snapshot {self.snapshot_id}: its words are of {words.index.n_items} items and"
                f" {words.encoder.dim} dimensions; expected {self.manifest.items} and {self.manifest.dim}, as in the"
                " manifest"
            )

    def _check_partitions(self) -> None:
        manifest = self.manifest
        for entry in manifest.categories:
            partition = self.partitions[entry.name]
            if isinstance(partition, Partition):
                partition.validate(self.items.n_numbers)
            else:
                validate_item_numbers(entry.name, partition.item_numbers(), self.items.n_numbers)
            if (partition.n_rows, partition.n_items, partition.dim) != (entry.rows, entry.items, manifest.dim):
                size = f"{partition.n_rows} rows of {partition.n_items} items in {partition.dim} dimensions"
                expected = f"{entry.rows} rows of {entry.items} items in {manifest.dim} dimensions"
                raise SnapshotError(f"the partition {entry.name!r} has {size}; expected {expected}, as in the manifest")
