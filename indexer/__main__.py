"""The indexer's command line: `python -m indexer COMMAND …`."""

import argparse
import json
import os
import sqlite3
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

# Neither TensorFlow's start-up notes nor its warnings about processors it was not compiled for are news to a user.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from indexer.build_partitions import ann_recall_at_10
from indexer.examples import EXAMPLES
from indexer.history import diff, existing, list_snapshots, roll_back
from indexer.index_policy import INDEX_KINDS
from indexer.near_duplicates import MAX_RATIO
from indexer.pipeline import build
from indexer.priority import give_way
from indexer.prune_cache import prune_cache
from indexer.report import Reporter, TerminalReporter
from indexer.settings import BACKBONES, FINE_TUNE, INDEX_VIEWS, REPORT, BuildSettings, remembered_settings
from indexer.writer_lock import writer_lock
from shared import __version__
from shared.errors import ParecidoError, SettingsError, SnapshotMissing
from shared.snapshot import DataDirectory, Snapshot, check_files
from shared.stored_vectors import ENCODINGS

Result = dict[str, Any]
_NOT_PUBLISHED = 3
_THREADS = os.cpu_count() or 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        The exit status: 0 done, 2 bad input or usage, 3 not published, 1 anything else.
    """
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace, Reporter], Result] = options.command
    try:
        result = command(options, TerminalReporter())
    except ParecidoError as error:
        return _fail(options.json, error.code, str(error), error.exit_status)
    except OSError as error:
        return _fail(options.json, "system", f"{error.filename or 'the system'}: {error.strerror or error}", 1)
    except sqlite3.Error as error:
        return _fail(options.json, "system", f"a database can't be used: {error}", 1)
    except KeyboardInterrupt:
        return _fail(options.json, "interrupted", "interrupted; nothing was published", 1)
    if options.json:
        print(json.dumps(result, ensure_ascii=False))
    return 0 if result.get("published", True) else _NOT_PUBLISHED


def _fail(as_json: bool, code: str, message: str, status: int) -> int:
    print(f"parecido: {message}", file=sys.stderr)
    if as_json:
        print(json.dumps({"error": {"code": code, "message": message}}, ensure_ascii=False))
    return status


def _build(options: argparse.Namespace, reporter: Reporter) -> Result:
    settings = build_settings(options)
    if not options.dry_run:
        return build(settings, reporter).as_dict()
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


def _evaluate(options: argparse.Namespace, reporter: Reporter) -> Result:
    from indexer.evaluate import evaluation_of, judge_queries, show

    snapshot = _open_current(options.data)
    judged = judge_queries(snapshot, options.queries, _THREADS, reporter)
    evaluation = evaluation_of(judged)
    show(evaluation, reporter)
    if options.report is not None:
        from indexer.query_report import write_query_report

        page = write_query_report(judged, options.queries, DataDirectory(options.data), options.report, reporter)
        reporter.say(f"written: {page}")
    snapshot.close()
    return evaluation.as_dict()


def _verify(options: argparse.Namespace, reporter: Reporter) -> Result:
    data = DataDirectory(options.data)
    snapshot_id = options.snapshot or data.current_id()
    snapshot = _open(data, snapshot_id)
    check_files(data.paths(snapshot_id), snapshot.manifest)  # opening has read only samples of large ones
    recall = {name: ann_recall_at_10(part) for name, part in snapshot.partitions.items()}
    snapshot.close()
    reporter.table("ann_recall_at_10 against exact search", ["category", "recall"], list(recall.items()))
    reporter.say(f"snapshot {snapshot_id} is complete and undamaged")
    return {"snapshot_id": snapshot_id, "verified": True, "ann_recall_at_10": recall}


def _snapshots(options: argparse.Namespace, reporter: Reporter) -> Result:
    listed = [one.as_dict() for one in list_snapshots(DataDirectory(options.data))]
    reporter.table("Snapshots, oldest first", list(listed[0]), [list(one.values()) for one in listed])
    (current,) = [one["snapshot_id"] for one in listed if one["state"] == "current"]
    return {
        "current": current,
        "snapshots": [{**one, "current": one["snapshot_id"] == current} for one in listed],
    }


def _rollback(options: argparse.Namespace, reporter: Reporter) -> Result:
    chosen, was = roll_back(DataDirectory(options.data), options.snapshot)
    reporter.say(f"current is {chosen} now, was {was}")
    return {"snapshot_id": chosen, "was": was}


def _diff(options: argparse.Namespace, reporter: Reporter) -> Result:
    data = DataDirectory(options.data)
    found = diff(data, options.before, options.after or data.current_id())
    before, after = found.before.as_dict(), found.after.as_dict()
    reporter.table("Snapshots", ["figure", "before", "after"], [(name, before[name], after[name]) for name in before])
    reporter.table("Items", ["change", "items", "which"], found.changes.rows())
    categories = [(name, *pair) for name, pair in found.category_items.items()]
    reporter.table("Items by category, where they differ", ["category", "before", "after"], categories)
    reporter.say(f"{found.shared_bytes:,} bytes are on the disk once for both")
    return found.as_dict()


def _prune(options: argparse.Namespace, reporter: Reporter) -> Result:
    data = DataDirectory(options.data)
    if not data.cache.exists():
        raise SnapshotMissing(f"there is no cache in {data.root}")
    with writer_lock(data):
        pruned = prune_cache(data.cache, options.keep_days, options.max_bytes)
    reporter.say(f"{pruned.dropped} entries dropped, {pruned.left} left in {pruned.bytes:,} bytes")
    return pruned.as_dict()


def _export(options: argparse.Namespace, reporter: Reporter) -> Result:
    from indexer.export import export

    snapshot = _open_current(options.data)
    images = export(snapshot, options.out)
    snapshot.close()
    reporter.say(f"written: {images} rows to {options.out}/embeddings.npy and {options.out}/paths.json")
    return {"snapshot_id": snapshot.snapshot_id, "images": images, "out": str(options.out)}


def _visualize(options: argparse.Namespace, reporter: Reporter) -> Result:
    from indexer.visualize import visualize

    snapshot = _open_current(options.data)
    out = visualize(snapshot, options.image, options.out, options.top_k)
    snapshot.close()
    reporter.say(f"written: {out}")
    return {"snapshot_id": snapshot.snapshot_id, "out": str(out)}


def _report(options: argparse.Namespace, reporter: Reporter) -> Result:
    from indexer import catalogue_report

    if not 0 < options.max_ratio < 1:
        raise SettingsError(f"--max-ratio is {options.max_ratio:g}; wanted more than 0 and less than 1")
    if options.top < 1:
        raise SettingsError(f"--top is {options.top}; wanted at least 1")
    if options.sheet is not None:
        from indexer.contact_sheet import check_suffix

        check_suffix("--sheet", options.sheet)
    snapshot = _open_current(options.data)
    report = catalogue_report.report_of(snapshot, DataDirectory(options.data), options.max_ratio)
    snapshot.close()
    catalogue_report.show(report, options.top, reporter)
    if options.sheet is not None:
        from indexer.report_sheet import draw_report

        drawn = draw_report(report, Path(snapshot.manifest.image_root), options.sheet)
        reporter.say(f"written: {drawn}" if drawn else "there is nothing to draw")
    return {"snapshot_id": snapshot.snapshot_id, **report.as_dict()}


def _open_current(root: Path) -> Snapshot:
    data = DataDirectory(root)
    return _open(data, data.current_id())


def _open(data: DataDirectory, snapshot_id: str) -> Snapshot:
    return Snapshot.open(existing(data, snapshot_id), _THREADS)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m indexer", description="Build and look after snapshots of a catalogue.")
    parser.add_argument("--version", action="version", version=f"parecido {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        name: str, command: Callable[[argparse.Namespace, Reporter], Result], text: str, to: Any = commands
    ) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = to.add_parser(
            name,
            help=text,
            description=textwrap.fill(text, 78),
            epilog="examples:\n" + "".join(f"  python -m indexer {one}\n" for one in EXAMPLES[name]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.add_argument("--data", type=Path, default=Path("data"), help="the data directory (default: data)")
        sub.add_argument("--json", action="store_true", help="print one JSON object as the last line of output")
        sub.set_defaults(command=command)
        return sub

    _add_build_options(add("build", _build, "Build a snapshot of a catalogue and publish it."))
    sub = add("evaluate", _evaluate, "Judge the published snapshot by labelled photos that are not in it.")
    sub.add_argument(
        "--queries", type=Path, required=True, help="photos, a folder a category, or a CSV or JSON-lines file"
    )
    sub.add_argument("--report", type=Path, help="write evaluation.html and evaluation.json into this directory")
    sub = add("verify", _verify, "Check a snapshot: checksums, parts, golden embedding, indexes against exact search.")
    sub.add_argument("snapshot", nargs="?", help="its id (default: the published one)")
    add("snapshots", _snapshots, "List the snapshots.")
    sub = add("rollback", _rollback, "Publish an earlier snapshot again.")
    sub.add_argument("snapshot", nargs="?", help="its id (default: the one that was published before)")
    sub = add("diff", _diff, "Tell two snapshots apart: items, figures, sizes.")
    sub.add_argument("before", help="the id of the one")
    sub.add_argument("after", nargs="?", help="the id of the other (default: the published one)")
    cache = commands.add_parser("cache", help="Look after the embedding cache.").add_subparsers(
        required=True, metavar="COMMAND"
    )
    sub = add("prune", _prune, "Drop from the embedding cache what no build has used for long.", cache)
    sub.add_argument("--keep-days", type=float, default=30.0, help="days without use that an entry stays (default: 30)")
    sub.add_argument("--max-bytes", type=int, help="then drop the longest unused until the rest take no more than this")
    sub = add("report", _report, "Show near-duplicate items and doubtful labels of the published snapshot.")
    sub.add_argument(
        "--max-ratio",
        type=float,
        default=MAX_RATIO,
        help="how near two images have to be, as a share of the distance that is usual there (default: 0.25)",
    )
    sub.add_argument("--top", type=int, default=20, help="groups and labels that are shown (default: 20)")
    sub.add_argument("--sheet", type=Path, metavar="FILE.png", help="draw the first of them")
    sub = add("export", _export, "Write all images' embeddings as embeddings.npy with paths.json.")
    sub.add_argument("--out", type=Path, required=True, help="the directory to write to")
    sub = add("visualize", _visualize, "Draw a query with its category and hits.")
    sub.add_argument("image", type=Path, help="the query")
    sub.add_argument("--out", type=Path, required=True, help="the picture to write, for example sheet.png")
    sub.add_argument("--top-k", type=int, default=10, help="how many hits (default: 10)")
    return parser


def _add_build_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--catalogue", type=Path, help="a folder a category, or a CSV or JSON-lines file (default: as last time)"
    )
    sub.add_argument("--embeddings", type=Path, metavar="FILE.npy", help="embeddings made elsewhere, (n, dim)")
    sub.add_argument(
        "--items", type=Path, metavar="FILE.jsonl", help="what each row of --embeddings shows, a line a row"
    )
    sub.add_argument(
        "--image-root", type=Path, help="what a file's image paths are relative to (default: its directory)"
    )
    sub.add_argument(
        "--backbone",
        choices=BACKBONES,
        metavar="NAME",
        help=f"the base network: {', '.join(BACKBONES)} (default: the published one, else auto)",
    )
    sub.add_argument("--weights", type=Path, metavar="FILE", help="the base network's weights")
    sub.add_argument(
        "--fine-tune",
        choices=FINE_TUNE,
        help="tune the base's last blocks on the catalogue, auto: if there are enough images (default: as published,"
        " else off)",
    )
    sub.add_argument("--augmentations", type=int, metavar="N", help="augmented copies an image (default: 2)")
    sub.add_argument(
        "--index-views", choices=INDEX_VIEWS, help="index originals, or augmented copies too (default: original)"
    )
    sub.add_argument(
        "--index-kind", choices=INDEX_KINDS, help="how larger categories are indexed (default: auto, by measuring)"
    )
    sub.add_argument("--vectors", choices=ENCODINGS, help="how embeddings are kept (default: float32)")
    sub.add_argument(
        "--max-bytes-per-vector",
        type=int,
        metavar="N",
        help="what an approximate index may take besides the embeddings (default: no limit)",
    )
    sub.add_argument(
        "--store",
        metavar="ADDRESS",
        help="where the vectors go: embedded, or milvus+http://HOST:19530 (default: as published, else embedded)",
    )
    sub.add_argument("--max-bad", type=float, metavar="SHARE", help="share of entries that may be bad (default: 0.05)")
    sub.add_argument("--max-image-bytes", type=int, metavar="N", help="leave out larger files (default: 50 MiB)")
    sub.add_argument(
        "--max-image-pixels", type=int, metavar="N", help="leave out larger pictures (default: 100 million)"
    )
    sub.add_argument("--workers", type=int, metavar="N", help="threads that decode and embed (default: one a core)")
    sub.add_argument("--seed", type=int, help="of augmentation, held-out split and training (default: 0)")
    sub.add_argument("--keep", type=int, metavar="N", help="snapshots that stay (default: 5)")
    sub.add_argument(
        "--report", choices=REPORT, help="write a report into the snapshot, judged by held-out items (default: on)"
    )
    sub.add_argument(
        "--feedback", type=Path, metavar="FILE", help="train from what users told the service, too (PARECIDO_FEEDBACK)"
    )
    sub.add_argument("--dry-run", action="store_true", help="say what would change, and change nothing")
    sub.add_argument(
        "--retrain",
        action="store_true",
        help="train again (the classifier, and a fine-tuned base), whatever has changed",
    )
    sub.add_argument("--rehash", action="store_true", help="read every image file, also those that look unchanged")
    sub.add_argument("--force", action="store_true", help="publish also what is worse than the published snapshot")


if __name__ == "__main__":
    give_way()
    sys.exit(main())
