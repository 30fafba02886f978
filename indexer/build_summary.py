"""The result of a build, and its summary for `--json` and for people."""

from dataclasses import asdict, dataclass
from typing import Any

from indexer.console.progress import Reporter
from indexer.data_quality.report import read_report
from indexer.reports.file_names import PAGE
from shared.images.preprocessing import Preprocessing
from shared.manifest import Manifest
from shared.snapshot.data_directory import DataDirectory


@dataclass(frozen=True)
class Built:
    """A complete snapshot that a build made, or the published one if nothing has changed.

    Attributes:
        manifest: of the snapshot.
        objections: reasons of the gate not to publish it.
        embedded_views: views embedded in this run, augmented copies included.
        skipped: number of entries left out.
    """

    manifest: Manifest
    objections: list[str]
    embedded_views: int
    skipped: int


@dataclass(frozen=True)
class BuildSummary:
    """The figures of a build.

    Attributes:
        published: True if `current` names the snapshot now.
        side_px: of the backbone's input; None where the embeddings were given without a backbone.
        skipped: number of entries left out.
        embedded: views embedded in this run, augmented copies included.
        category_accuracy: of the classifier on held-out images; None where there were too few to hold any out.
        seconds: duration of the build.
    """

    snapshot_id: str
    published: bool
    backbone: str
    side_px: int | None
    items: int
    images: int
    skipped: int
    embedded: int
    categories: int
    category_accuracy: float | None
    seconds: float

    @classmethod
    def of(cls, built: Built, published: bool, seconds: float) -> "BuildSummary":
        """The summary of a build that took so many seconds."""
        manifest = built.manifest
        return cls(
            snapshot_id=manifest.snapshot_id,
            published=published,
            backbone=manifest.backbone,
            side_px=Preprocessing.parse(manifest.preprocessing).side_px if manifest.golden else None,
            items=manifest.items,
            images=manifest.images,
            skipped=built.skipped,
            embedded=built.embedded_views,
            categories=len(manifest.categories),
            category_accuracy=manifest.classifier["category_accuracy"],
            seconds=round(seconds, 3),
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def show(summary: BuildSummary, manifest: Manifest, data: DataDirectory, reporter: Reporter) -> None:
    """Show a build's categories and figures, and where to read more."""
    rows = [
        (entry.name, entry.items, entry.images, entry.rows, entry.index_kind, entry.ann_recall_at_10)
        for entry in manifest.categories
    ]
    reporter.table("Categories", ["category", "items", "images", "rows", "index", "ann_recall_at_10"], rows)
    figures = {key: "–" if value is None else value for key, value in summary.as_dict().items()}
    if (margin := manifest.classifier.get("category_accuracy_margin")) is not None:
        figures["category_accuracy"] = f"{summary.category_accuracy:.4f} ± {margin:.4f}"
    reporter.table("Build", ["figure", "value"], list(figures.items()))
    if summary.skipped:
        reporter.say(f"entries left out: {summary.skipped}; {data.skipped} lists them with their reasons")
    directory = data.paths(manifest.snapshot_id).report
    if (page := directory / PAGE).exists():
        reporter.say(f"evaluation report: {page}")
    report = read_report(directory)
    if report is not None and (to_look_at := report.sentence()):
        reporter.say(f"{to_look_at}; `python -m indexer report --data {data.root}` shows them")
