"""Writing evaluation reports: of a build into its snapshot, and of `indexer evaluate --report`.

The first evaluates on held-out images; should it fail, the failure is reported and the snapshot published without it.
The second evaluates on photos that are not in the catalogue.
"""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from indexer.classifier.held_out import HeldOut
from indexer.console.progress import Reporter
from indexer.data_quality.report import CatalogueReport, report_of
from indexer.files.location import location
from indexer.reports.file_names import FIGURES, PAGE
from indexer.snapshots.classifier_heads import Heads
from indexer.snapshots.published import PublishedSnapshot
from shared.snapshot.data_directory import DataDirectory
from shared.snapshot.snapshot import Snapshot

if TYPE_CHECKING:
    from indexer.evaluation.predictions import Predictions

_HELD_OUT = "held-out photos of its own catalogue, each without the photos of its own group among the hits"


def write_build_report(
    snapshot: Snapshot,
    heads: Heads,
    held_out: HeldOut,
    catalogue: CatalogueReport,
    published: PublishedSnapshot | None,
    directory: Path,
    reporter: Reporter,
) -> None:
    """Write page and JSON into a directory; neither if nothing is held out, or it fails.

    Args:
        snapshot: the open candidate.
        heads: of its folds.
        held_out: its held-out images.
        catalogue: the report on its catalogue.
        published: the snapshot that it would replace, whose report it is compared with.
        directory: the snapshot's `report/`.
        reporter: receives progress, and the reason if there is no report.
    """
    if not held_out.n_images:
        return
    try:
        _write(snapshot, heads, held_out, catalogue, published, directory, reporter)
    except Exception as error:  # drawing depends on fonts, files and the content of catalogues
        for name in (PAGE, FIGURES):
            (directory / name).unlink(missing_ok=True)
        reporter.say(f"the snapshot has no report: {type(error).__name__}: {error}")


def _write(
    snapshot: Snapshot,
    heads: Heads,
    held_out: HeldOut,
    catalogue: CatalogueReport,
    published: PublishedSnapshot | None,
    directory: Path,
    reporter: Reporter,
) -> None:
    # Imported here, since Matplotlib takes a second to import.
    from indexer.evaluation.group_figures import GroupFigures
    from indexer.evaluation.labelled_photos import LabelledPhotos
    from indexer.evaluation.predictions import affordable_searches, predict
    from indexer.evaluation.robustness import search_by_edited
    from indexer.reports.evaluation_report import STEPS, EvaluationReport, read_previous

    rows = sum(partition.n_rows for partition in snapshot.partitions.values())
    photos = LabelledPhotos.of_held_out(held_out, location(snapshot.manifest.image_root))
    with reporter.stage("evaluate held-out images", len(snapshot.partitions)) as stage:
        n_searched = affordable_searches(rows, len(snapshot.partitions))
        of_folds = [replace(snapshot, classifier=head) for head in heads.of_folds]
        predictions = predict(snapshot, photos, stage, n_searched, of_folds)
    edits = search_by_edited(snapshot, reporter)
    with reporter.stage("draw report", STEPS) as stage:
        previous = None if published is None else read_previous(published.paths.report, snapshot.snapshot_id)
        groups = GroupFigures.of(held_out, snapshot.manifest.classifier)
        EvaluationReport.of(predictions, _HELD_OUT, catalogue, previous, edits, groups).write(directory, stage)


def write_query_report(
    predictions: "Predictions", queries: Path, data: DataDirectory, directory: Path, reporter: Reporter
) -> Path:
    """Write page and JSON; compare with the earlier report in the same directory, if there is one.

    Args:
        predictions: the photos with the predictions of the open snapshot.
        queries: the folder that they came from.
        data: the data directory of the snapshot.
        directory: the directory to write to; created.
        reporter: receives progress.

    Returns:
        The path of the page.
    """
    from indexer.evaluation.robustness import search_by_edited
    from indexer.reports.evaluation_report import STEPS, EvaluationReport, read_previous

    edits = search_by_edited(predictions.snapshot, reporter)
    catalogue = report_of(predictions.snapshot, data)
    with reporter.stage("draw report", STEPS) as stage:
        previous = read_previous(directory, predictions.snapshot.snapshot_id)
        evaluated_on = f"photos in {queries} that are not in its catalogue"
        report = EvaluationReport.of(predictions, evaluated_on, catalogue, previous, edits)
        return report.write(directory, stage)
