"""The report of `indexer evaluate`: judged by photos that are not in the catalogue."""

from pathlib import Path

from indexer.console.progress import Reporter
from indexer.data_quality.report import report_of
from indexer.evaluation.predictions import Judged
from indexer.evaluation.robustness import search_by_changed
from indexer.reports.evaluation_report import STEPS, EvaluationReport, read_before
from shared.snapshot.data_directory import DataDirectory


def write_query_report(judged: Judged, queries: Path, data: DataDirectory, directory: Path, reporter: Reporter) -> Path:
    """Write page and JSON; an earlier report in the same directory is what this one is compared with.

    Args:
        judged: the photos, and what the open snapshot says of them.
        queries: where they came from.
        data: where the snapshot lies.
        directory: to write to; it is made.
        reporter: told of progress.

    Returns:
        The page.
    """
    changes = search_by_changed(judged.snapshot, reporter)
    catalogue = report_of(judged.snapshot, data)
    with reporter.stage("draw report", STEPS) as stage:
        before = read_before(directory, judged.snapshot.snapshot_id)
        report = EvaluationReport.of(
            judged, f"photos in {queries} that are not in its catalogue", catalogue, before, changes
        )
        return report.write(directory, stage)
