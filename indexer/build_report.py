"""The report of a build, in the snapshot's `report/`: judged by the items that the classifier has not learned.

It is there for people to look at: whatever goes wrong with it is said, and the snapshot is published without.
"""

from collections.abc import Callable
from pathlib import Path

from indexer.catalogue_report import CatalogueReport
from indexer.held_out import HeldOut
from indexer.location import location
from indexer.published import Published
from shared.snapshot import Snapshot

PAGE = "evaluation.html"
FIGURES = "evaluation.json"


def write_build_report(
    snapshot: Snapshot,
    held_out: HeldOut,
    catalogue: CatalogueReport,
    published: Published | None,
    directory: Path,
    say: Callable[[str], None],
) -> None:
    """Write page and JSON into a directory; where nothing is held out, or it fails, neither.

    Args:
        snapshot: the candidate, open.
        held_out: items of its catalogue.
        catalogue: what was found in it.
        published: what it would replace, to compare with its report.
        directory: the snapshot's `report/`.
        say: is told why there is none.
    """
    if not held_out.n_images:
        return
    try:
        _write(snapshot, held_out, catalogue, published, directory)
    except Exception as error:  # drawing meets fonts, files and whatever catalogues hold
        for name in (PAGE, FIGURES):
            (directory / name).unlink(missing_ok=True)
        say(f"the snapshot has no report: {type(error).__name__}: {error}")


def _write(
    snapshot: Snapshot, held_out: HeldOut, catalogue: CatalogueReport, published: Published | None, directory: Path
) -> None:
    # Matplotlib takes a second to import: only builds that have something to tell pay for it.
    from indexer.evaluation_report import EvaluationReport, read_before
    from indexer.judged import LabelledPhotos, affordable_searches, judge
    from indexer.report import SilentReporter

    rows = sum(partition.n_rows for partition in snapshot.partitions.values())
    photos = LabelledPhotos.of_held_out(held_out, location(snapshot.manifest.image_root))
    with SilentReporter().stage("") as stage:
        judged = judge(snapshot, photos, stage, affordable_searches(rows, len(snapshot.partitions)))
    before = None if published is None else read_before(published.paths.report, snapshot.snapshot_id)
    judged_by = "photos of its own catalogue that the classifier has not learned, each without itself among the hits"
    EvaluationReport.of(judged, judged_by, catalogue, before).write(directory)
