"""The report on a catalogue: near-duplicate items, and images with doubtful labels.

Two JSON files in the snapshot's `report/`; `python -m indexer report` prints them.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from indexer.console.progress import Reporter
from indexer.data_quality.near_duplicates import MAX_RATIO, Duplicate, NearDuplicates, find_near_duplicates
from indexer.data_quality.snapshot_images import SnapshotImages
from indexer.data_quality.suspect_labels import Suspect, SuspectLabels, find_suspect_labels
from indexer.groups.nearest_images import Neighbours, nearest_images
from shared.catalogue.items import IndexedItem
from shared.index.category_search import CategorySearch
from shared.model.projection import Projection
from shared.snapshot.data_directory import DataDirectory
from shared.snapshot.snapshot import Snapshot

_NEAR_DUPLICATES = "near_duplicates.json"
_SUSPECT_LABELS = "suspect_labels.json"


@dataclass(frozen=True)
class CatalogueReport:
    """Near-duplicates and doubtful labels of a catalogue, for people to review."""

    near_duplicates: NearDuplicates
    suspect_labels: SuspectLabels

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"near_duplicates": self.near_duplicates.as_dict(), "suspect_labels": self.suspect_labels.as_dict()}

    def sentence(self) -> str | None:
        """Summarise the report in one line; None if it is empty."""
        groups, contradictions = len(self.near_duplicates.groups), self.near_duplicates.contradictions
        suspects = len(self.suspect_labels.suspects)
        if not groups and not suspects:
            return None
        group, label = "group" if groups == 1 else "groups", "label" if suspects == 1 else "labels"
        return (
            f"to look at: {groups} {group} of near-duplicate items, {contradictions} over several categories, and"
            f" {suspects} doubtful {label}"
        )

    def write(self, directory: Path) -> None:
        """Write both files into an existing directory."""
        for name, content in (
            (_NEAR_DUPLICATES, self.near_duplicates.as_dict()),
            (_SUSPECT_LABELS, self.suspect_labels.as_dict()),
        ):
            (directory / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def examine(
    items: Iterable[IndexedItem],
    partitions: Mapping[str, CategorySearch],
    max_ratio: float = MAX_RATIO,
    near: Neighbours | None = None,
    projection: Projection | None = None,
) -> CatalogueReport:
    """Find near-duplicates and doubtful labels among indexed items.

    Args:
        items: of a snapshot.
        partitions: of the snapshot, by category.
        max_ratio: the largest distance of a pair, as a share of the usual one.
        near: the nearest images of each, in the order of the items; None to find them here.
        projection: of the embeddings in the partitions, which is undone.
    """
    originals = SnapshotImages.of(items, partitions, projection)
    near = nearest_images(originals) if near is None else near
    duplicates = find_near_duplicates(originals, near, max_ratio)
    return CatalogueReport(duplicates, find_suspect_labels(originals, near, duplicates))


def read_report(directory: Path) -> CatalogueReport | None:
    """Read the report of a build; None if its version wrote none, or one without a ratio test."""
    try:
        near_duplicates, suspect_labels = (
            json.loads((directory / name).read_text(encoding="utf-8")) for name in (_NEAR_DUPLICATES, _SUSPECT_LABELS)
        )
    except FileNotFoundError:
        return None
    if "max_ratio" not in near_duplicates:
        return None
    return CatalogueReport(NearDuplicates.from_dict(near_duplicates), SuspectLabels.from_dict(suspect_labels))


def report_of(snapshot: Snapshot, data: DataDirectory, max_ratio: float = MAX_RATIO) -> CatalogueReport:
    """Read the report of a snapshot, or make one if there is none of this ratio.

    Args:
        snapshot: the open snapshot.
        data: its data directory.
        max_ratio: the largest distance of a pair, as a share of the usual one.
    """
    written = read_report(data.paths(snapshot.snapshot_id).report)
    if written is not None and written.near_duplicates.max_ratio == max_ratio:
        return written
    items = snapshot.items.without_metadata()
    return examine(items, snapshot.partitions, max_ratio, projection=snapshot.projection)


def show(report: CatalogueReport, top: int, reporter: Reporter) -> None:
    """Print a report.

    Args:
        report: the report.
        top: the number of groups and of doubtful labels to print.
        reporter: prints it.
    """
    duplicates, labels = report.near_duplicates, report.suspect_labels
    groups = [
        (
            number,
            "same file" if one.same_file else f"{one.cosine:.4f}",
            one.category,
            one.item_id,
            _image(one),
        )
        for number, group in enumerate(duplicates.groups[:top], start=1)
        for one in group.items
    ]
    header = ["group", "cosine", "category", "item", "image"]
    reporter.table("Near-duplicate items, those under several categories first", header, groups)
    suspects = [
        (one.doubt, one.category, one.suggested, _votes(one), one.item_id, _image(one)) for one in labels.suspects[:top]
    ]
    header = ["doubt", "label", "looks like", "neighbours", "item", "image"]
    reporter.table("Doubtful labels, the most doubtful first", header, suspects)
    for total, what in ((len(duplicates.groups), "groups"), (len(labels.suspects), "doubtful labels")):
        if total > top:
            reporter.say(f"{total - top} more {what}: --top shows more, --json all")
    if labels.unjudged:
        reporter.say(f"labels of categories with too few images were not checked: {', '.join(labels.unjudged)}")
    if not duplicates.exact:
        reporter.say("the catalogue is large: near images were found by approximate search, a few may be missing")
    reporter.say(report.sentence() or "no near-duplicate items and no doubtful labels")


def _votes(suspect: Suspect) -> str:
    return f"{suspect.neighbours_for_label} : {suspect.neighbours_for_suggested}"


def _image(finding: Duplicate | Suspect) -> str:
    """The path of its image, unless it is the item's id."""
    return "" if finding.image == finding.item_id else finding.image
