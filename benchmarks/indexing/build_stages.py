"""Time of each stage of a build into an empty directory, and the share of the report.

CPU time is reported beside wall time: it is what a stage would take on one free core.
"""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness.options import option_parser
from benchmarks.harness.photos import list_photos, sample, write_catalogue
from benchmarks.harness.rows import machine, print_records, store
from indexer.console.progress import SILENT_STAGE, Stage
from indexer.pipeline import build
from indexer.reports.file_names import PAGE
from indexer.settings import BuildSettings
from shared.snapshot.data_directory import DataDirectory

_REPORT = ("evaluate held-out items", "edit photos", "draw report")


class StageTimes:
    """A reporter that records the time of each stage."""

    def __init__(self) -> None:
        """Start without any stage."""
        self.stages: list[dict[str, Any]] = []

    def say(self, line: str) -> None:
        """Print a message of the build."""
        print(line)

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[Stage]:
        """Time a stage."""
        started, worked = time.perf_counter(), time.process_time()
        yield SILENT_STAGE
        seconds, processor_s = time.perf_counter() - started, time.process_time() - worked
        self.stages.append({"stage": name, "seconds": seconds, "processor_s": processor_s})

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Show nothing."""


def main() -> None:
    """Build, print and store."""
    options = option_parser("indexing.build_stages", __doc__).parse_args()
    photos = list_photos(options.photos, "train")
    photos = sample(photos, 150) if options.smoke else photos
    times = StageTimes()
    with tempfile.TemporaryDirectory(prefix="parecido-benchmark-") as directory:
        catalogue = Path(directory, "items.jsonl")
        write_catalogue(photos, options.photos, catalogue)
        data = DataDirectory(Path(directory, "data"))
        settings = BuildSettings(
            catalogue=catalogue, image_root=options.photos, data=data.root, backbone="efficientnet_lite0"
        )
        summary = build(settings, times)
        page_bytes = (data.paths(summary.snapshot_id).report / PAGE).stat().st_size
    print_records(f"A build of {len(photos):,} photos, {summary.seconds:.0f} s in all", times.stages)
    report_s, processor_s = (
        sum(stage[unit] for stage in times.stages if stage["stage"] in _REPORT) for unit in ("seconds", "processor_s")
    )
    print(f"\nthe report: {report_s:.1f} s, {processor_s:.1f} s of processor time; its page has {page_bytes:,} bytes")
    figures = {"photos": len(photos), "report_s": report_s, "report_processor_s": processor_s, "page_bytes": page_bytes}
    store("indexing.build_stages", options.smoke, {"machine": machine(), **figures, "stages": times.stages})


if __name__ == "__main__":
    main()
