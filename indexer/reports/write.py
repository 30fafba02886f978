"""The report of a build, in the snapshot's `report/`: judged by the items that the classifier has not learned.

It is there for people to look at: whatever goes wrong with it is said, and the snapshot is published without.
"""

from pathlib import Path

from indexer.classifier.held_out import HeldOut
from indexer.console.progress import Reporter
from indexer.data_quality.report import CatalogueReport
from indexer.files.location import location
from indexer.snapshots.published import PublishedSnapshot
from shared.snapshot.snapshot import Snapshot

PAGE = "evaluation.html"
FIGURES = "evaluation.json"
_JUDGED_BY = "photos of its own catalogue that the classifier has not learned, each without itself among the hits"


def write_build_report(
    snapshot: Snapshot,
    held_out: HeldOut,
    catalogue: CatalogueReport,
    published: PublishedSnapshot | None,
    directory: Path,
    reporter: Reporter,
) -> None:
    """Write page and JSON into a directory; where nothing is held out, or it fails, neither.

    Args:
        snapshot: the candidate, open.
        held_out: items of its catalogue.
        catalogue: what was found in it.
        published: what it would replace, to compare with its report.
        directory: the snapshot's `report/`.
        reporter: told of progress, and why there is none.
    """
    if not held_out.n_images:
        return
    try:
        _write(snapshot, held_out, catalogue, published, directory, reporter)
    except Exception as error:  # drawing meets fonts, files and whatever catalogues hold
        for name in (PAGE, FIGURES):
            (directory / name).unlink(missing_ok=True)
        reporter.say(f"the snapshot has no report: {type(error).__name__}: {error}")


def _write(
    snapshot: Snapshot,
    held_out: HeldOut,
    catalogue: CatalogueReport,
    published: PublishedSnapshot | None,
    directory: Path,
    reporter: Reporter,
) -> None:
    # Matplotlib takes a second to import: only builds that have something to tell pay for it.
    from indexer.evaluation.predictions import LabelledPhotos, affordable_searches, judge
    from indexer.evaluation.robustness import search_by_changed
    from indexer.reports.evaluation_report import STEPS, EvaluationReport, read_before

    rows = sum(partition.n_rows for partition in snapshot.partitions.values())
    photos = LabelledPhotos.of_held_out(held_out, location(snapshot.manifest.image_root))
    with reporter.stage("judge held-out items", len(snapshot.partitions)) as stage:
        judged = judge(snapshot, photos, stage, affordable_searches(rows, len(snapshot.partitions)))
    changes = search_by_changed(snapshot, reporter)
    with reporter.stage("draw report", STEPS) as stage:
        before = None if published is None else read_before(published.paths.report, snapshot.snapshot_id)
        EvaluationReport.of(judged, _JUDGED_BY, catalogue, before, changes).write(directory, stage)
