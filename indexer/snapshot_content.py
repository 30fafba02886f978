"""Everything that goes into a snapshot, and how it is written."""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from indexer.build_partitions import ann_recall_at_10
from indexer.read_catalogue import Problem
from shared import __version__
from shared.catalogue import IndexedItem, write_items
from shared.classifier import Classifier
from shared.embedder import LiteRtEmbedder, golden_picture
from shared.images import PREPROCESSING
from shared.manifest import FORMAT_VERSION, CategoryEntry, Manifest
from shared.partition import INDEX_KIND, Partition
from shared.snapshot import SnapshotPaths


@dataclass(frozen=True)
class SnapshotContent:
    """What the stages of a build have made.

    Attributes:
        backbone: the name of the base.
        weights: where its weights came from.
        model: the exported base, the bytes of `embedder.tflite`.
        classifier: the head.
        held_out: its figures on held-out items.
        partitions: one a category, in the order of the classifier's columns.
        items: with their rows in the partitions.
        problems: what was left out.
        image_root: what image paths are relative to.
        settings: the build's.
    """

    backbone: str
    weights: str
    model: bytes
    classifier: Classifier
    held_out: Mapping[str, Any]
    partitions: Sequence[Partition]
    items: Sequence[IndexedItem]
    problems: Sequence[Problem]
    image_root: Path
    settings: Mapping[str, Any]

    def write(self, paths: SnapshotPaths) -> Manifest:
        """Write every file into an empty directory, the manifest last."""
        paths.partitions.mkdir(parents=True)
        paths.report.mkdir()
        paths.embedder.write_bytes(self.model)
        self.classifier.save(paths.classifier)
        write_items(paths.items, self.items)
        for partition in self.partitions:
            partition.write(paths.partitions)
        write_problems(paths.report / "skipped.jsonl", self.problems)
        manifest = self._manifest(paths.checksums())
        manifest.write(paths.manifest)
        return manifest

    def _manifest(self, checksums: Mapping[str, str]) -> Manifest:
        now = datetime.now(UTC)
        embedder = LiteRtEmbedder(self.model, interpreters=1)
        return Manifest(
            format_version=FORMAT_VERSION,
            snapshot_id=f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}",
            created_at=now.isoformat(timespec="seconds"),
            parecido_version=__version__,
            backbone=self.backbone,
            weights=self.weights,
            embedder_id=embedder.embedder_id,
            dim=embedder.dim,
            metric="inner_product",
            preprocessing=PREPROCESSING,
            index_views=str(self.settings["index_views"]),
            categories=self._category_entries(),
            items=len(self.items),
            images=sum(len(indexed.rows) for indexed in self.items),
            skipped=len(self.problems),
            image_root=str(self.image_root),
            golden=tuple(embedder.embed(golden_picture())[0].tolist()),
            classifier=self.held_out,
            settings=self.settings,
            checksums=checksums,
        )

    def _category_entries(self) -> tuple[CategoryEntry, ...]:
        images = dict.fromkeys(self.classifier.categories, 0)
        for indexed in self.items:
            images[indexed.item.category] += len(indexed.rows)
        return tuple(
            CategoryEntry(
                name=part.category,
                items=part.n_items,
                images=images[part.category],
                rows=part.n_rows,
                index_kind=INDEX_KIND,
                ann_recall_at_10=ann_recall_at_10(part),
            )
            for part in self.partitions
        )


def write_problems(path: Path, problems: Sequence[Problem]) -> None:
    """A JSON object a line: `file`, `row`, `item_id`, `reason`."""
    lines = [json.dumps(problem.as_dict(), ensure_ascii=False) + "\n" for problem in problems]
    path.write_text("".join(lines), encoding="utf-8")
