"""The figures of a build, for `--json` and for people."""

from dataclasses import asdict, dataclass
from typing import Any

from indexer.console.progress import Reporter
from indexer.data_quality.report import read_report
from indexer.reports.file_names import PAGE
from shared.manifest import Manifest
from shared.snapshot.data_directory import DataDirectory


@dataclass(frozen=True)
class BuildSummary:
    """What a build reports.

    Attributes:
        snapshot_id: of the new snapshot.
        published: whether `current` names it now.
        backbone: the base that was used.
        items: how many are in the snapshot.
        images: how many these have.
        skipped: entries left out.
        embedded: views embedded in this run, augmented copies included.
        categories: how many.
        category_accuracy: of the classifier on held-out items; None where there were too few to hold any out.
        seconds: the whole build.
    """

    snapshot_id: str
    published: bool
    backbone: str
    items: int
    images: int
    skipped: int
    embedded: int
    categories: int
    category_accuracy: float | None
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Built:
    """What a build has made: the manifest of a complete snapshot, and what the gate objects to it.

    The snapshot is the published one where that has all of the catalogue already.
    """

    manifest: Manifest
    objections: list[str]
    embedded_views: int
    skipped: int


def summarize(built: Built, published: bool, seconds: float) -> BuildSummary:
    """Sum up a build.

    Args:
        built: what was made.
        published: True if `current` names it now.
        seconds: the duration of the build.
    """
    manifest = built.manifest
    return BuildSummary(
        snapshot_id=manifest.snapshot_id,
        published=published,
        backbone=manifest.backbone,
        items=manifest.items,
        images=manifest.images,
        skipped=built.skipped,
        embedded=built.embedded_views,
        categories=len(manifest.categories),
        category_accuracy=manifest.classifier["category_accuracy"],
        seconds=round(seconds, 3),
    )


def show(summary: BuildSummary, manifest: Manifest, data: DataDirectory, reporter: Reporter) -> None:
    """Show a build's categories and figures, and where to read more."""
    rows = [
        (entry.name, entry.items, entry.images, entry.rows, entry.index_kind, entry.ann_recall_at_10)
        for entry in manifest.categories
    ]
    reporter.table("Categories", ["category", "items", "images", "rows", "index", "ann_recall_at_10"], rows)
    shown = {key: "–" if value is None else value for key, value in summary.as_dict().items()}
    reporter.table("Build", ["figure", "value"], list(shown.items()))
    if summary.skipped:
        reporter.say(f"{summary.skipped} entries were left out; {data.skipped} lists them with their reasons")
    directory = data.paths(manifest.snapshot_id).report
    if (page := directory / PAGE).exists():
        reporter.say(f"how good it is: {page}")
    report = read_report(directory)
    if report is not None and (found := report.sentence()):
        reporter.say(f"{found}; `python -m indexer report --data {data.root}` shows them")
