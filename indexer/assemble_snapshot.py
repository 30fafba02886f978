"""The content of a snapshot, and writing it.

1. The exported backbone and the items.
2. One partition per category, and the classifier with its OOD rule, which is fitted on them.
3. The folds, the report on the catalogue, the evaluation on held-out images, and the problems.
4. With `--store`, the vectors go to Milvus.
5. The manifest, with a checksum of every other file.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path

from indexer.catalogue.problems import write_problems
from indexer.classifier.choose import ChosenClassifier
from indexer.classifier.fit_ood_rule import fit_ood_rule
from indexer.classifier.held_out import HeldOut
from indexer.console.progress import Reporter
from indexer.data_quality.report import examine
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from indexer.embedding.exported_backbone import ExportedBackbone
from indexer.files.durable_write import link_or_copy
from indexer.partitions.build import PlannedPartition, write_partition
from indexer.partitions.milvus_upload import Upload
from indexer.reports.write import write_build_report
from indexer.settings import BuildSettings
from indexer.snapshots.classifier_heads import Heads
from indexer.snapshots.milvus_collections import connect, record_collection
from indexer.snapshots.published import PublishedSnapshot
from indexer.words.described import described_text
from indexer.words.learned import LearnedWords
from indexer.words.lexical_writer import write_lexical_index
from shared import __version__
from shared.catalogue.item_store import ItemStore
from shared.catalogue.item_writer import write_items
from shared.catalogue.items import IndexedItem
from shared.images.preprocessing import Preprocessing
from shared.index.partition import Partition
from shared.index.partition_files import partition_file
from shared.manifest import FORMAT_VERSION, CategoryEntry, Manifest
from shared.milvus.address import EMBEDDED, MilvusAddress
from shared.model.embedder import (
    Embedder,
    LiteRtEmbedder,
    NoEmbedder,
    embedder_id,
)
from shared.model.energy_score import EnergyScore
from shared.model.golden import golden_image
from shared.model.projection import ProjectedEmbedder, Projection
from shared.snapshot.data_directory import DataDirectory, SnapshotPaths
from shared.snapshot.snapshot import Snapshot


@dataclass(frozen=True)
class SnapshotContent:
    """The results of a build's stages.

    Attributes:
        embedded: the catalogue and its embeddings.
        chosen: the classifier.
        held_out: images that the heads of their folds have not learned.
        partitions: planned, one per category, in the order of the classifier's columns.
        items: with their rows in the partitions.
        published: the snapshot whose partitions are reused.
        image_root: directory or URL that image paths are relative to.
        preprocessing: of the images.
        words: what was learned from the words; None if there are none.
    """

    backbone: ExportedBackbone
    embedded: EmbeddedCatalogue
    chosen: ChosenClassifier
    held_out: HeldOut
    partitions: Sequence[PlannedPartition]
    items: Sequence[IndexedItem]
    published: PublishedSnapshot | None
    image_root: Path
    settings: BuildSettings
    preprocessing: Preprocessing
    words: LearnedWords | None = None

    def write(self, paths: SnapshotPaths, snapshot_id: str, reporter: Reporter) -> Manifest:
        """Write every file, the manifest last.

        Args:
            paths: of a directory that does not exist yet.
            snapshot_id: of the new snapshot.
            reporter: for progress, and for the reason if there is no report.
        """
        paths.partitions.mkdir(parents=True)
        paths.report.mkdir()
        self._write_embedder(paths)
        if self.words is not None:
            columns = self.words.columns.all
            self.words.write(paths)
            write_lexical_index(paths.lexical_index, (described_text(indexed.item, columns) for indexed in self.items))
        write_items(paths.items, self.items)
        entries = []
        with reporter.stage("build partitions", len(self.partitions)) as stage:
            for planned in self.partitions:
                entries.append(write_partition(planned, self.indexed, paths.partitions, self.published))
                stage.advance()
        with reporter.stage("fit OOD rule"):
            heads = self._write_classifier(paths)
        written = {entry.name: Partition.open(entry.name, paths.partitions) for entry in entries}
        with reporter.stage("find duplicates"):
            report = examine(self.items, written, near=self.held_out.folds.neighbours, projection=self._projection)
            report.write(paths.report)
        write_problems(paths.report / "skipped.jsonl", self.embedded.problems)
        embedder = self._embedder()
        manifest = self._manifest(snapshot_id, tuple(entries), embedder)
        if self.settings.report == "on" and self.settings.embeddings is None:
            with closing(ItemStore(paths.items)) as items:
                heads = heads.projected(self._projection, () if self.words is None else self.words.fold_projections)
                snapshot = Snapshot(manifest, embedder, heads.served, items, written, projection=self._projection)
                held_out = self.held_out.for_heads(heads)
                write_build_report(snapshot, heads, held_out, report, self.published, paths.report, reporter)
        if self.settings.store != EMBEDDED:
            manifest = self._to_milvus(paths, manifest, written)
        manifest = replace(manifest, checksums=paths.checksums(), samples=paths.samples())
        manifest.write(paths.manifest)
        return manifest

    @property
    def indexed(self) -> EmbeddedCatalogue:
        """The catalogue with the embeddings that partitions hold."""
        return self.embedded if self.words is None else self.words.projected(self.embedded)

    @property
    def _projection(self) -> Projection | None:
        return None if self.words is None else self.words.projection

    @property
    def _has_new_projection(self) -> bool:
        if self.published is None or self.words is None:
            return self.published is not None and self.published.manifest.words is not None
        return self.words.is_new

    def _to_milvus(self, paths: SnapshotPaths, manifest: Manifest, written: Mapping[str, Partition]) -> Manifest:
        """Move the vectors from the snapshot's directory to a collection; the rows' items stay in files."""
        store = self.settings.store
        collection = MilvusAddress.parse(store).collection(manifest.snapshot_id)
        record_collection(DataDirectory(self.settings.data), store, collection)
        with closing(connect(store)) as connection:
            upload = Upload(connection, collection, written, self.settings.index_kind)
            categories, entry = upload.run(manifest.categories)
        for category in written:
            (paths.partitions / partition_file(category)).unlink()
        return replace(manifest, categories=categories, store=entry)

    def _embedder(self) -> Embedder:
        base = LiteRtEmbedder(self.backbone.model, interpreters=1) if self.backbone.model else NoEmbedder(self._dim)
        return base if self._projection is None else ProjectedEmbedder(base, self._projection)

    def _write_embedder(self, paths: SnapshotPaths) -> None:
        published = self.published
        if not self.backbone.model:
            return
        if published is not None and published.manifest.embedder_id == embedder_id(self.backbone.model):
            link_or_copy(published.paths.embedder, paths.embedder)
        else:
            paths.embedder.write_bytes(self.backbone.model)

    def _write_classifier(self, paths: SnapshotPaths) -> Heads:
        """Write heads and folds; a new classifier's OOD rule is fitted on the partitions, which are written before."""
        heads = self.chosen.heads
        if self.chosen.is_new or self._has_new_projection:
            opened = partial(Partition.open, directory=paths.partitions)
            held_out = self.held_out.for_heads(heads)
            heads = heads.with_ood_rule(fit_ood_rule(heads, held_out, opened, self._pretrained_classes()))
        heads.write(paths)
        self.held_out.folds.stored().write(paths.folds)
        return heads

    def _pretrained_classes(self) -> EnergyScore | None:
        """The backbone's pretrained classes; None if it was fine-tuned, since they no longer fit its embeddings."""
        from indexer.backbone.load import pretrained_classes

        if (self.backbone.tuning or {}).get("improved") or not self.backbone.model:
            return None
        return pretrained_classes(self.backbone.name, self.settings.weights)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all items with their images and metadata, in order: the same content needs no new snapshot."""
        digest = hashlib.sha256()
        for indexed in self.items:
            item, digests = indexed.item, [image_digest.hex() for image_digest in indexed.digests]
            content = [item.item_id, item.category, item.images, digests, dict(item.metadata)]
            digest.update(json.dumps(content, sort_keys=True).encode() + b"\n")
        return digest.hexdigest()

    def is_published(self) -> bool:
        """True if the published snapshot already has all of this."""
        if self.published is None or self.chosen.is_new:
            return False
        manifest = self.published.manifest
        return (
            manifest.content == self.digest
            and manifest.embedder_id == embedder_id(self.backbone.model)
            and self.published.can_filter
            and (manifest.words is None if self.words is None else not self.words.is_new)
            and manifest.tuning == self.backbone.tuning
            and manifest.settings.get("fine_tune") == self.settings.fine_tune  # else what `auto` decided would be lost
            and len(manifest.categories) == len(self.partitions)
            and all(planned.published is not None for planned in self.partitions)
            and manifest.image_root == str(self.image_root)
            and self._is_same_store(manifest)
        )

    def _is_same_store(self, manifest: Manifest) -> bool:
        if manifest.store is None:
            return self.settings.store == EMBEDDED
        same_kind = manifest.settings.get("index_kind") == self.settings.index_kind
        return manifest.store.address == self.settings.store and same_kind

    @property
    def _dim(self) -> int:
        return self.embedded.views.shape[2]

    def _manifest(self, snapshot_id: str, categories: tuple[CategoryEntry, ...], embedder: Embedder) -> Manifest:
        """The manifest without checksums."""
        side_px = self.preprocessing.side_px if self.backbone.model else None
        golden = tuple(embedder.embed(golden_image(embedder.side_px))[0].tolist()) if self.backbone.model else ()
        return Manifest(
            format_version=FORMAT_VERSION,
            snapshot_id=snapshot_id,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            parecido_version=__version__,
            backbone=self.backbone.name,
            weights=self.backbone.weights,
            embedder_id=embedder_id(self.backbone.model),
            dim=self._dim,
            metric="inner_product",
            preprocessing=self.preprocessing.name,
            recipe=self.embedded.recipe,
            index_views=self.settings.index_views,
            categories=categories,
            items=len(self.items),
            images=sum(len(indexed.rows) for indexed in self.items),
            skipped=len(self.embedded.problems),
            image_root=str(self.image_root),
            content=self.digest,
            golden=golden,
            classifier=self.chosen.figures(self.held_out),
            settings={**self.settings.as_dict(), "backbone": self.backbone.name, "side": side_px},
            checksums={},
            tuning=self.backbone.tuning,
            words=None if self.words is None else self.words.figures,
        )
