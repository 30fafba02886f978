"""Everything that goes into a snapshot, and how it is written."""

import hashlib
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from indexer.build_partitions import BuiltPartition, ann_recall_at_10
from indexer.read_catalogue import Problem
from shared import __version__
from shared.catalogue import IndexedItem, write_items
from shared.classifier import Classifier
from shared.embedder import LiteRtEmbedder, golden_picture
from shared.images import PREPROCESSING
from shared.manifest import FORMAT_VERSION, CategoryEntry, Manifest
from shared.partition import INDEX_KIND
from shared.snapshot import SnapshotPaths


@dataclass(frozen=True)
class SnapshotContent:
    """What the stages of a build have made.

    Attributes:
        backbone: the name of the base.
        weights: where its weights came from.
        model: the exported base, the bytes of `embedder.tflite`.
        classifier: the head.
        figures: its figures on held-out items.
        partitions: one a category, in the order of the classifier's columns.
        taken_from: the partitions directory of the published snapshot, for those that are taken over.
        items: with their rows in the partitions.
        problems: what was left out.
        image_root: what image paths are relative to.
        settings: the build's.
        recipe: names everything that embeddings depend on besides the images.
    """

    backbone: str
    weights: str
    model: bytes
    classifier: Classifier
    figures: Mapping[str, Any]
    partitions: Sequence[BuiltPartition]
    taken_from: Path | None
    items: Sequence[IndexedItem]
    problems: Sequence[Problem]
    image_root: Path
    settings: Mapping[str, Any]
    recipe: str

    def write(self, paths: SnapshotPaths) -> Manifest:
        """Write every file into an empty directory, the manifest last."""
        paths.partitions.mkdir(parents=True)
        paths.report.mkdir()
        paths.embedder.write_bytes(self.model)
        self.classifier.save(paths.classifier)
        write_items(paths.items, self.items)
        for built in self.partitions:
            built.partition.write(paths.partitions, self.taken_from if built.taken_over else None)
        write_problems(paths.report / "skipped.jsonl", self.problems)
        manifest = self._manifest(paths.checksums())
        manifest.write(paths.manifest)
        return manifest

    @cached_property
    def content(self) -> str:
        """A digest of all items with their images and metadata, in order: the same content needs no new snapshot."""
        digest = hashlib.sha256()
        for indexed in self.items:
            item, digests = indexed.item, [one.hex() for one in indexed.digests]
            told = [item.item_id, item.category, item.images, digests, dict(item.metadata)]
            digest.update(json.dumps(told, sort_keys=True).encode() + b"\n")
        return digest.hexdigest()

    def is_published_as(self, manifest: Manifest) -> bool:
        """Whether a published snapshot has all of this already."""
        wanted = {built.partition.category: built.content for built in self.partitions}
        return (
            manifest.content == self.content
            and {entry.name: entry.content for entry in manifest.categories} == wanted
            and manifest.image_root == str(self.image_root)
        )

    def _manifest(self, checksums: Mapping[str, str]) -> Manifest:
        now = datetime.now(UTC)
        embedder = LiteRtEmbedder(self.model, interpreters=1)
        return Manifest(
            format_version=FORMAT_VERSION,
            snapshot_id=f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03}-{secrets.token_hex(3)}",
            created_at=now.isoformat(timespec="seconds"),
            parecido_version=__version__,
            backbone=self.backbone,
            weights=self.weights,
            embedder_id=embedder.embedder_id,
            dim=embedder.dim,
            metric="inner_product",
            preprocessing=PREPROCESSING,
            recipe=self.recipe,
            index_views=str(self.settings["index_views"]),
            categories=self._category_entries(),
            items=len(self.items),
            images=sum(len(indexed.rows) for indexed in self.items),
            skipped=len(self.problems),
            image_root=str(self.image_root),
            content=self.content,
            golden=tuple(embedder.embed(golden_picture())[0].tolist()),
            classifier=self.figures,
            settings=self.settings,
            checksums=checksums,
        )

    def _category_entries(self) -> tuple[CategoryEntry, ...]:
        images = dict.fromkeys(self.classifier.categories, 0)
        for indexed in self.items:
            images[indexed.item.category] += len(indexed.rows)
        return tuple(
            CategoryEntry(
                name=built.partition.category,
                items=built.partition.n_items,
                images=images[built.partition.category],
                rows=built.partition.n_rows,
                index_kind=INDEX_KIND,
                ann_recall_at_10=ann_recall_at_10(built.partition),
                content=built.content,
            )
            for built in self.partitions
        )


def write_problems(path: Path, problems: Sequence[Problem]) -> None:
    """A JSON object a line: `file`, `row`, `item_id`, `reason`."""
    lines = [json.dumps(problem.as_dict(), ensure_ascii=False) + "\n" for problem in problems]
    path.write_text("".join(lines), encoding="utf-8")
