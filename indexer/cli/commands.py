"""The commands of the command line: each shows its result, and returns it for `--json`."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich import filesize

from indexer import pipeline
from indexer.cli.options import (
    COMMANDS,
    DataOptions,
    DiffOptions,
    EvaluateOptions,
    ExportOptions,
    PlanOptions,
    PruneOptions,
    ReportOptions,
    RollbackOptions,
    VerifyOptions,
    VisualizeOptions,
)
from indexer.console.progress import Reporter
from indexer.embedding.prune_cache import prune_cache
from indexer.files.location import location
from indexer.partitions.recall import ann_recall_at_10
from indexer.settings import BuildSettings, remembered_settings
from indexer.snapshots import history
from indexer.snapshots.writer_lock import writer_lock
from shared.errors import SettingsError, SnapshotMissing
from shared.options import options_of
from shared.snapshot.data_directory import DataDirectory
from shared.snapshot.snapshot import Snapshot
from shared.snapshot.validate_content import validate_content
from shared.snapshot.verify_files import verify_files

Result = dict[str, Any]
_THREADS = os.cpu_count() or 1
_KEPT = ("backbone", "weights", "side", "fine_tune", "store")  # by a build of another catalogue


def run(name: str, given: Mapping[str, Any], reporter: Reporter) -> Result:
    """Run a command.

    Args:
        name: one of `COMMANDS`.
        given: the options that were given, by name.
        reporter: shows progress and results to a person.

    Returns:
        The object that `--json` prints.

    Raises:
        ParecidoError: it can't be done; those of the options are SettingsError.
    """
    if name == "build":
        return _build(given, reporter)
    (declaration,) = COMMANDS[name].declarations
    return _FUNCTIONS[name](declaration(**given), reporter)


def _build(given: Mapping[str, Any], reporter: Reporter) -> Result:
    """Build a snapshot and publish it; with `--dry-run`, report what that would change."""
    settings = build_settings(given)
    if not given.get("dry_run"):
        return pipeline.build(settings, reporter).as_dict()
    from indexer import dry_run

    changes = dry_run.dry_run(settings, reporter)
    dry_run.show(changes, reporter)
    return changes.as_dict()


def build_settings(given: Mapping[str, Any]) -> BuildSettings:
    """Return the settings of a build.

    Without a catalogue, those of the last build hold where nothing else is given. With one, the published base, its
    input side and the store stay unless others are given: embeddings of two bases don't mix, and `auto` could choose
    another one.

    Args:
        given: the options that were given, by name.

    Raises:
        SettingsError: a value that is not valid, or options that do not go together.
        SnapshotMissing: nothing has been published yet, and no catalogue is given.
    """
    values = {name: value for name, value in given.items() if name in options_of(BuildSettings)}
    data = values.get("data", BuildSettings.data)
    if ("embeddings" in given) != ("items" in given):
        raise SettingsError("--embeddings and --items belong together: a NumPy file, and what its rows show")
    if "items" in given:
        if "catalogue" in given or given.get("dry_run"):
            raise SettingsError("--embeddings goes with neither --catalogue nor --dry-run")
        return BuildSettings(**{**values, "catalogue": given["items"]})
    if "catalogue" not in given:
        return replace(remembered_settings(data), **values)
    try:
        published = remembered_settings(data)
        values = {name: getattr(published, name) for name in _KEPT} | values
    except SnapshotMissing:
        pass
    return BuildSettings(**values)


def evaluate(options: EvaluateOptions, reporter: Reporter) -> Result:
    """Evaluate the published snapshot on labelled photos that are not in it."""
    from indexer.evaluation.evaluate import evaluation_of, predict_queries, show

    snapshot = _open_current(options.data)
    predicted = predict_queries(snapshot, options.queries, _THREADS, reporter)
    evaluation = evaluation_of(predicted)
    show(evaluation, reporter)
    if options.report is not None:
        from indexer.reports.write import write_query_report

        page = write_query_report(predicted, options.queries, DataDirectory(options.data), options.report, reporter)
        reporter.say(f"written: {page}")
    snapshot.close()
    return evaluation.as_dict()


def verify(options: VerifyOptions, reporter: Reporter) -> Result:
    """Verify a snapshot: checksums, parts, golden embedding, indexes against exact search."""
    data = DataDirectory(options.data)
    snapshot_id = options.snapshot or data.current_id()
    recall = {}
    with reporter.stage("check files"):
        snapshot = _open(data, snapshot_id)
        verify_files(data.paths(snapshot_id), snapshot.manifest)  # opening has read only samples of large ones
        validate_content(snapshot, data.paths(snapshot_id))
    with reporter.stage("search exactly", len(snapshot.partitions)) as stage:
        for name, part in snapshot.partitions.items():
            recall[name] = ann_recall_at_10(part)
            stage.advance()
    snapshot.close()
    reporter.table("ann_recall_at_10 against exact search", ["category", "recall"], list(recall.items()))
    reporter.say(f"snapshot {snapshot_id} is complete and undamaged")
    return {"snapshot_id": snapshot_id, "verified": True, "ann_recall_at_10": recall}


def snapshots(options: DataOptions, reporter: Reporter) -> Result:
    """List the snapshots."""
    listed = [entry.as_dict() for entry in history.list_snapshots(DataDirectory(options.data))]
    header = ["snapshot", "state", "items", "images", "category_accuracy", "size"]
    rows = [
        (*(entry[name] for name in ("snapshot_id", *header[1:-1])), filesize.decimal(entry["bytes"]))
        for entry in listed
    ]
    reporter.table("Snapshots, oldest first", header, rows)
    (current,) = [entry["snapshot_id"] for entry in listed if entry["state"] == "current"]
    return {
        "current": current,
        "snapshots": [{**entry, "current": entry["snapshot_id"] == current} for entry in listed],
    }


def rollback(options: RollbackOptions, reporter: Reporter) -> Result:
    """Publish an earlier snapshot again."""
    chosen, was = history.roll_back(DataDirectory(options.data), options.snapshot)
    reporter.say(f"current is {chosen} now, was {was}")
    return {"snapshot_id": chosen, "was": was}


def diff(options: DiffOptions, reporter: Reporter) -> Result:
    """Compare two snapshots."""
    data = DataDirectory(options.data)
    difference = history.diff(data, options.before, options.after or data.current_id())
    before, after = difference.before.as_dict(), difference.after.as_dict()
    reporter.table("Snapshots", ["figure", "before", "after"], [(name, before[name], after[name]) for name in before])
    reporter.table("Items", ["change", "items", "which"], difference.changes.rows())
    categories = [(name, *pair) for name, pair in difference.category_items.items()]
    reporter.table("Items by category, where they differ", ["category", "before", "after"], categories)
    reporter.say(f"{difference.shared_bytes:,} bytes are shared on the disk")
    return difference.as_dict()


def prune(options: PruneOptions, reporter: Reporter) -> Result:
    """Remove embeddings from the cache that no build has used for long."""
    data = DataDirectory(options.data)
    if not data.cache.exists():
        raise SnapshotMissing(f"there is no cache in {data.root}: wanted a directory that something was built into")
    with writer_lock(data):
        pruned = prune_cache(data.cache, options.keep_days, options.max_bytes)
    reporter.say(f"{pruned.dropped} entries dropped, {pruned.left} left in {pruned.bytes:,} bytes")
    return pruned.as_dict()


def export(options: ExportOptions, reporter: Reporter) -> Result:
    """Write the embeddings of all images."""
    from indexer.snapshots.export_embeddings import export as write_embeddings

    snapshot = _open_current(options.data)
    with reporter.stage("write embeddings"):
        images = write_embeddings(snapshot, options.out)
    snapshot.close()
    reporter.say(f"written: {images} rows to {options.out}/embeddings.npy and {options.out}/paths.json")
    return {"snapshot_id": snapshot.snapshot_id, "images": images, "out": str(options.out)}


def visualize(options: VisualizeOptions, reporter: Reporter) -> Result:
    """Draw a query with its category and hits."""
    from indexer.reports.result_sheet import visualize as draw_hits

    snapshot = _open_current(options.data)
    out = draw_hits(snapshot, options.image, options.out, options.top_k)
    snapshot.close()
    reporter.say(f"written: {out}")
    return {"snapshot_id": snapshot.snapshot_id, "out": str(out)}


def report(options: ReportOptions, reporter: Reporter) -> Result:
    """Show near-duplicate items and doubtful labels."""
    from indexer.data_quality import report as catalogue_report

    if options.sheet is not None:
        from indexer.reports.contact_sheet import check_suffix

        check_suffix("--sheet", options.sheet)
    snapshot = _open_current(options.data)
    with reporter.stage("find duplicates"):
        report = catalogue_report.report_of(snapshot, DataDirectory(options.data), options.max_ratio)
    snapshot.close()
    catalogue_report.show(report, options.top, reporter)
    if options.sheet is not None:
        from indexer.reports.catalogue_sheet import draw_catalogue_sheet

        drawn = draw_catalogue_sheet(report, location(snapshot.manifest.image_root), options.sheet)
        reporter.say(f"written: {drawn}" if drawn else "there is nothing to draw")
    return {"snapshot_id": snapshot.snapshot_id, **report.as_dict()}


def plan(options: PlanOptions, reporter: Reporter) -> Result:
    """Estimate what a catalogue takes."""
    from indexer.capacity import plan as planning
    from indexer.capacity.demand import Demand

    demand = Demand(
        images=options.items * options.images,
        copies=options.augmentations,
        cores=options.cores,
        memory_gb_each=options.memory_gb,
        hours=options.hours,
        queries_per_s=options.queries_per_s,
    )
    estimate = planning.plan(demand)
    planning.show(estimate, reporter)
    return estimate.as_dict()


def _open_current(root: Path) -> Snapshot:
    data = DataDirectory(root)
    return _open(data, data.current_id())


def _open(data: DataDirectory, snapshot_id: str) -> Snapshot:
    return Snapshot.open(history.snapshot_paths(data, snapshot_id), _THREADS)


_FUNCTIONS: Mapping[str, Callable[[Any, Reporter], Result]] = {
    "evaluate": evaluate,
    "verify": verify,
    "snapshots": snapshots,
    "rollback": rollback,
    "diff": diff,
    "cache prune": prune,
    "export": export,
    "visualize": visualize,
    "report": report,
    "plan": plan,
}
