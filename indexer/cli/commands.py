"""What each command of the command line does: takes the options, shows what it found, returns it for `--json`."""

import argparse
import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from rich import filesize

from indexer import pipeline
from indexer.console.progress import Reporter
from indexer.embedding.prune_cache import prune_cache
from indexer.files.location import location
from indexer.partitions.recall import ann_recall_at_10
from indexer.settings import BuildSettings, remembered_settings
from indexer.snapshots import history
from indexer.snapshots.writer_lock import writer_lock
from shared.errors import SettingsError, SnapshotMissing
from shared.snapshot.data_directory import DataDirectory
from shared.snapshot.snapshot import Snapshot, check_files

Result = dict[str, Any]
_THREADS = os.cpu_count() or 1


def build(options: argparse.Namespace, reporter: Reporter) -> Result:
    """Build a snapshot and publish it; with `--dry-run`, say what that would change."""
    settings = build_settings(options)
    if not options.dry_run:
        return pipeline.build(settings, reporter).as_dict()
    from indexer import dry_run

    found = dry_run.dry_run(settings, reporter)
    dry_run.show(found, reporter)
    return found.as_dict()


def build_settings(options: argparse.Namespace) -> BuildSettings:
    """Options as given; what is not given is remembered where no catalogue is named, else takes its default.

    The published base is kept unless another is asked for: embeddings of two don't mix, and `auto` could choose
    otherwise tomorrow.
    """
    names = {field.name for field in fields(BuildSettings)}
    given = {name: value for name, value in vars(options).items() if name in names and value is not None}
    if (options.embeddings is None) != (options.items is None):
        raise SettingsError("--embeddings and --items belong together: a NumPy file, and what its rows show")
    if options.items is not None:
        if options.catalogue is not None or options.dry_run:
            raise SettingsError("--embeddings goes with neither --catalogue nor --dry-run")
        return BuildSettings(**{**given, "catalogue": options.items})
    if "catalogue" not in given:
        return replace(remembered_settings(options.data), **given)
    try:
        published = remembered_settings(options.data)
        given = {name: getattr(published, name) for name in ("backbone", "weights", "fine_tune", "store")} | given
    except SnapshotMissing:
        pass
    return BuildSettings(**given)


def evaluate(options: argparse.Namespace, reporter: Reporter) -> Result:
    """Judge the published snapshot by labelled photos that are not in it."""
    from indexer.evaluation.evaluate import evaluation_of, predict_queries, show

    snapshot = _open_current(options.data)
    judged = predict_queries(snapshot, options.queries, _THREADS, reporter)
    evaluation = evaluation_of(judged)
    show(evaluation, reporter)
    if options.report is not None:
        from indexer.reports.write import write_query_report

        page = write_query_report(judged, options.queries, DataDirectory(options.data), options.report, reporter)
        reporter.say(f"written: {page}")
    snapshot.close()
    return evaluation.as_dict()


def verify(options: argparse.Namespace, reporter: Reporter) -> Result:
    """Check a snapshot: checksums, parts, golden embedding, indexes against exact search."""
    data = DataDirectory(options.data)
    snapshot_id = options.snapshot or data.current_id()
    recall = {}
    with reporter.stage("check files"):
        snapshot = _open(data, snapshot_id)
        check_files(data.paths(snapshot_id), snapshot.manifest)  # opening has read only samples of large ones
        snapshot.check_content(data.paths(snapshot_id))
    with reporter.stage("search exactly", len(snapshot.partitions)) as stage:
        for name, part in snapshot.partitions.items():
            recall[name] = ann_recall_at_10(part)
            stage.advance()
    snapshot.close()
    reporter.table("ann_recall_at_10 against exact search", ["category", "recall"], list(recall.items()))
    reporter.say(f"snapshot {snapshot_id} is complete and undamaged")
    return {"snapshot_id": snapshot_id, "verified": True, "ann_recall_at_10": recall}


def snapshots(options: argparse.Namespace, reporter: Reporter) -> Result:
    """List the snapshots."""
    listed = [one.as_dict() for one in history.list_snapshots(DataDirectory(options.data))]
    header = ["snapshot", "state", "items", "images", "category_accuracy", "size"]
    rows = [(*(one[name] for name in ("snapshot_id", *header[1:-1])), filesize.decimal(one["bytes"])) for one in listed]
    reporter.table("Snapshots, oldest first", header, rows)
    (current,) = [one["snapshot_id"] for one in listed if one["state"] == "current"]
    return {
        "current": current,
        "snapshots": [{**one, "current": one["snapshot_id"] == current} for one in listed],
    }


def rollback(options: argparse.Namespace, reporter: Reporter) -> Result:
    """Publish an earlier snapshot again."""
    chosen, was = history.roll_back(DataDirectory(options.data), options.snapshot)
    reporter.say(f"current is {chosen} now, was {was}")
    return {"snapshot_id": chosen, "was": was}


def diff(options: argparse.Namespace, reporter: Reporter) -> Result:
    """Tell two snapshots apart."""
    data = DataDirectory(options.data)
    found = history.diff(data, options.before, options.after or data.current_id())
    before, after = found.before.as_dict(), found.after.as_dict()
    reporter.table("Snapshots", ["figure", "before", "after"], [(name, before[name], after[name]) for name in before])
    reporter.table("Items", ["change", "items", "which"], found.changes.rows())
    categories = [(name, *pair) for name, pair in found.category_items.items()]
    reporter.table("Items by category, where they differ", ["category", "before", "after"], categories)
    reporter.say(f"{found.shared_bytes:,} bytes are on the disk once for both")
    return found.as_dict()


def prune(options: argparse.Namespace, reporter: Reporter) -> Result:
    """Drop from the embedding cache what no build has used for long."""
    data = DataDirectory(options.data)
    if not data.cache.exists():
        raise SnapshotMissing(f"there is no cache in {data.root}: wanted a directory that something was built into")
    with writer_lock(data):
        pruned = prune_cache(data.cache, options.keep_days, options.max_bytes)
    reporter.say(f"{pruned.dropped} entries dropped, {pruned.left} left in {pruned.bytes:,} bytes")
    return pruned.as_dict()


def export(options: argparse.Namespace, reporter: Reporter) -> Result:
    """Write all images' embeddings."""
    from indexer.snapshots.export_embeddings import export as write_embeddings

    snapshot = _open_current(options.data)
    with reporter.stage("write embeddings"):
        images = write_embeddings(snapshot, options.out)
    snapshot.close()
    reporter.say(f"written: {images} rows to {options.out}/embeddings.npy and {options.out}/paths.json")
    return {"snapshot_id": snapshot.snapshot_id, "images": images, "out": str(options.out)}


def visualize(options: argparse.Namespace, reporter: Reporter) -> Result:
    """Draw a query with its category and hits."""
    from indexer.reports.result_sheet import visualize as draw_hits

    snapshot = _open_current(options.data)
    out = draw_hits(snapshot, options.image, options.out, options.top_k)
    snapshot.close()
    reporter.say(f"written: {out}")
    return {"snapshot_id": snapshot.snapshot_id, "out": str(out)}


def report(options: argparse.Namespace, reporter: Reporter) -> Result:
    """Show near-duplicate items and doubtful labels."""
    from indexer.data_quality import report as catalogue_report

    if not 0 < options.max_ratio < 1:
        raise SettingsError(f"--max-ratio is {options.max_ratio:g}; wanted more than 0 and less than 1")
    if options.top < 1:
        raise SettingsError(f"--top is {options.top}; wanted at least 1")
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


def plan(options: argparse.Namespace, reporter: Reporter) -> Result:
    """Say what a catalogue of some size takes."""
    from indexer import capacity as planning

    demand = planning.Demand(
        images=options.items * options.images,
        copies=options.augmentations,
        cores=options.cores,
        memory_gb_each=options.memory_gb,
        hours=options.hours,
        queries_per_s=options.queries_per_s,
    )
    found = planning.plan(demand)
    planning.show(found, reporter)
    return found.as_dict()


def _open_current(root: Path) -> Snapshot:
    data = DataDirectory(root)
    return _open(data, data.current_id())


def _open(data: DataDirectory, snapshot_id: str) -> Snapshot:
    return Snapshot.open(history.snapshot_paths(data, snapshot_id), _THREADS)


# By the name that the command line knows them by.
COMMANDS: dict[str, Callable[[argparse.Namespace, Reporter], Result]] = {
    "build": build,
    "evaluate": evaluate,
    "verify": verify,
    "snapshots": snapshots,
    "rollback": rollback,
    "diff": diff,
    "prune": prune,
    "export": export,
    "visualize": visualize,
    "report": report,
    "plan": plan,
}
