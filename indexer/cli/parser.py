"""The command line's parser: commands, their options, and their help."""

import argparse
import textwrap
from pathlib import Path
from typing import Any

from indexer.cli.examples import EXAMPLES
from indexer.data_quality.near_duplicates import MAX_RATIO
from indexer.files.location import location
from indexer.partitions.index_policy import INDEX_KINDS
from indexer.settings import BACKBONES, EXECUTORS, FINE_TUNE, INDEX_VIEWS, REPORT
from shared import __version__
from shared.errors import SettingsError
from shared.index.stored_vectors import ENCODINGS
from shared.snapshot.data_directory import DataDirectory


def _location(text: str) -> Path:
    """A path or a URL, for argparse."""
    try:
        return location(text)
    except SettingsError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def command_parser() -> argparse.ArgumentParser:
    """The parser of every command; the one that is chosen is `command` of what it returns."""
    parser = argparse.ArgumentParser("python -m indexer", description="Build and look after snapshots of a catalogue.")
    parser.add_argument("--version", action="version", version=f"parecido {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, text: str, to: Any = commands) -> argparse.ArgumentParser:
        sub: argparse.ArgumentParser = to.add_parser(
            name,
            help=text,
            description=textwrap.fill(text, 78),
            epilog="examples:\n" + "".join(f"  python -m indexer {one}\n" for one in EXAMPLES[name]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        sub.add_argument("--data", type=Path, default=Path("data"), help="the data directory (default: data)")
        sub.add_argument("--json", action="store_true", help="print one JSON object as the last line of output")
        sub.set_defaults(command=name)
        return sub

    _add_build_options(add("build", "Build a snapshot of a catalogue and publish it."))
    sub = add("evaluate", "Judge the published snapshot by labelled photos that are not in it.")
    sub.add_argument(
        "--queries",
        type=_location,
        required=True,
        help="photos, a folder a category, or a CSV, JSON-lines or Parquet file",
    )
    sub.add_argument("--report", type=Path, help="write evaluation.html and evaluation.json into this directory")
    sub = add("verify", "Check a snapshot: checksums, parts, golden embedding, indexes against exact search.")
    _add_snapshot(sub, "snapshot", "its id (default: the published one)", nargs="?")
    add("snapshots", "List the snapshots.")
    sub = add("rollback", "Publish an earlier snapshot again.")
    _add_snapshot(sub, "snapshot", "its id (default: the one that was published before)", nargs="?")
    sub = add("diff", "Tell two snapshots apart: items, figures, sizes.")
    _add_snapshot(sub, "before", "the id of the one")
    _add_snapshot(sub, "after", "the id of the other (default: the published one)", nargs="?")
    cache = commands.add_parser("cache", help="Look after the embedding cache.").add_subparsers(
        required=True, metavar="COMMAND"
    )
    sub = add("prune", "Drop from the embedding cache what no build has used for long.", cache)
    sub.add_argument("--keep-days", type=float, default=30.0, help="days without use that an entry stays (default: 30)")
    sub.add_argument("--max-bytes", type=int, help="then drop the longest unused until the rest take no more than this")
    sub = add("report", "Show near-duplicate items and doubtful labels of the published snapshot.")
    sub.add_argument(
        "--max-ratio",
        type=float,
        default=MAX_RATIO,
        help="how near two images have to be, as a share of the distance that is usual there (default: 0.25)",
    )
    sub.add_argument("--top", type=int, default=20, help="groups and labels that are shown (default: 20)")
    sub.add_argument("--sheet", type=Path, metavar="FILE.png", help="draw the first of them")
    sub = add("plan", "Say what a catalogue of some size takes, on one machine and on a cluster.")
    sub.add_argument("--items", type=int, required=True, metavar="N", help="how many items")
    sub.add_argument("--images", type=int, default=1, metavar="N", help="images of an item (default: 1)")
    sub.add_argument("--augmentations", type=int, default=2, metavar="N", help="as build's (default: 2)")
    sub.add_argument("--cores", type=int, default=16, help="of a machine or node (default: 16)")
    sub.add_argument("--memory-gb", type=float, default=128, help="of a machine or node (default: 128)")
    sub.add_argument("--hours", type=float, default=24, help="that embedding on a cluster may take (default: 24)")
    sub.add_argument("--queries-per-s", type=float, default=100, metavar="N", help="to be answered (default: 100)")
    sub = add("export", "Write all images' embeddings as embeddings.npy with paths.json.")
    sub.add_argument("--out", type=Path, required=True, help="the directory to write to")
    sub = add("visualize", "Draw a query with its category and hits.")
    sub.add_argument("image", type=Path, help="the query")
    sub.add_argument("--out", type=Path, required=True, help="the picture to write, for example sheet.png")
    sub.add_argument("--top-k", type=int, default=10, help="how many hits (default: 10)")
    return parser


def _add_snapshot(sub: argparse.ArgumentParser, name: str, text: str, nargs: str | None = None) -> None:
    sub.add_argument(name, nargs=nargs, help=text).completer = _snapshot_ids  # type: ignore[attr-defined]


def _add_build_options(sub: argparse.ArgumentParser) -> None:
    sub.add_argument(
        "--catalogue",
        type=_location,
        metavar="PATH",
        help="a folder a category, or a CSV, JSON-lines or Parquet file (default: as last time)",
    )
    sub.add_argument("--embeddings", type=Path, metavar="FILE.npy", help="embeddings made elsewhere, (n, dim)")
    sub.add_argument(
        "--items", type=Path, metavar="FILE.jsonl", help="what each row of --embeddings shows, a line a row"
    )
    sub.add_argument(
        "--image-root",
        type=_location,
        metavar="PATH",
        help="what a file's image paths are relative to, a URL too (default: its directory)",
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
    sub.add_argument(
        "--workers", type=int, metavar="N", help="threads, or workers of a cluster, that embed (default: one a core)"
    )
    sub.add_argument("--executor", choices=EXECUTORS, help="who embeds: this machine, or a cluster (default: local)")
    sub.add_argument(
        "--ray-address",
        metavar="ADDR",
        help="of the Ray cluster (default: RAY_ADDRESS, else one of this machine's own)",
    )
    sub.add_argument(
        "--shards", type=_location, metavar="PATH", help="where its workers write to (default: shards in --data)"
    )
    sub.add_argument(
        "--shard-images", type=int, metavar="N", help="images that a worker writes at once at most (default: 10,000)"
    )
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


def _snapshot_ids(parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """The snapshots of the data directory that the command line names so far; argcomplete keeps those that fit."""
    return DataDirectory(parsed_args.data).ids()
