"""The commands of the indexer and the options of each, besides those of a build: `indexer/settings.py`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field

from indexer.data_quality.near_duplicates import MAX_RATIO
from indexer.settings import BuildSettings, Location, option_flag
from shared.options import Help, check_options
from shared.retrieval.search_options import DEFAULT_TOP_K


class Command(NamedTuple):
    """A command of the command line.

    Attributes:
        summary: a sentence.
        declarations: dataclasses of its options; `--json` comes besides.
        examples: what follows `python -m indexer` in examples.
    """

    summary: str
    declarations: tuple[type, ...]
    examples: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """The options of every command."""

    data: Annotated[Path, Help("the data directory, into which snapshots are published", metavar="DIR")] = Path("data")

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            SettingsError: the message names the option, its value, and what was expected.
        """
        check_options(self, option_flag)


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """Options of a build that are not settings."""

    items: Annotated[
        Path | None, Help("JSON lines with the item and category of each row of `--embeddings`", metavar="FILE.jsonl")
    ] = None
    dry_run: Annotated[bool, Help("report what would change, and change nothing")] = False


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions(DataOptions):
    """Options of an evaluation."""

    queries: Annotated[Location, Help("labelled photos: one folder per category, or a CSV, JSON-lines or Parquet file")]
    report: Annotated[
        Path | None,
        Help("write `evaluation.html` and `evaluation.json` into this directory", see="how-to/read-the-report.md"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class VerifyOptions(DataOptions):
    """Options of a verification."""

    snapshot: Annotated[str | None, Help("the id of the snapshot", default="the published one", positional=True)] = None


@dataclass(frozen=True, kw_only=True)
class RollbackOptions(DataOptions):
    """Options of a rollback."""

    snapshot: Annotated[
        str | None,
        Help("the id of the snapshot to publish", default="the one that was published before", positional=True),
    ] = None


@dataclass(frozen=True, kw_only=True)
class DiffOptions(DataOptions):
    """Options of a comparison."""

    before: Annotated[str, Help("the id of the first snapshot", positional=True)]
    after: Annotated[
        str | None, Help("the id of the second snapshot", default="the published one", positional=True)
    ] = None


@dataclass(frozen=True, kw_only=True)
class PruneOptions(DataOptions):
    """Options of the removal of embeddings from the cache."""

    keep_days: Annotated[
        float, Field(ge=0, allow_inf_nan=False), Help("keep embeddings that a build has used within so many days")
    ] = 30.0
    max_bytes: Annotated[
        int | None,
        Field(ge=0),
        Help("then remove those unused for longest, until the rest fits into so many bytes", default="no limit"),
    ] = None


@dataclass(frozen=True, kw_only=True)
class ReportOptions(DataOptions):
    """Options of a report on the catalogue."""

    max_ratio: Annotated[
        float,
        Field(gt=0, lt=1),
        Help("maximum distance of near-duplicates, as a share of the usual distance there", metavar="SHARE"),
    ] = MAX_RATIO
    top: Annotated[int, Field(ge=1), Help("number of groups and labels that are shown")] = 20
    sheet: Annotated[Path | None, Help("draw the first of them into this file", metavar="FILE.png")] = None


@dataclass(frozen=True, kw_only=True)
class PlanOptions(DataOptions):
    """Options of a capacity plan."""

    items: Annotated[int, Field(ge=1), Help("number of items", see="explanation/capacity.md")]
    images: Annotated[int, Field(ge=1), Help("images per item")] = 1
    augmentations: Annotated[int, Field(ge=0, le=64), Help("augmented copies of each image, as in `build`")] = 2
    cores: Annotated[int, Field(ge=1), Help("cores of a machine or node")] = 16
    memory_gb: Annotated[float, Field(gt=0, allow_inf_nan=False), Help("memory of a machine or node, in GB")] = 128.0
    hours: Annotated[
        float, Field(gt=0, allow_inf_nan=False), Help("maximum time of embedding the catalogue on a cluster, in hours")
    ] = 24.0
    queries_per_s: Annotated[float, Field(gt=0, allow_inf_nan=False), Help("queries per second")] = 100.0


@dataclass(frozen=True, kw_only=True)
class ExportOptions(DataOptions):
    """Options of an export."""

    out: Annotated[Path, Help("the directory to write to", metavar="DIR")]


@dataclass(frozen=True, kw_only=True)
class VisualizeOptions(DataOptions):
    """Options of a drawing of hits."""

    image: Annotated[Path, Help("the query", positional=True)]
    out: Annotated[Path, Help("the picture to write, for example `sheet.png`", metavar="FILE.png")]
    top_k: Annotated[int, Field(ge=1), Help("maximum number of hits")] = DEFAULT_TOP_K


COMMANDS: Mapping[str, Command] = {
    "build": Command(
        "Build a snapshot of a catalogue and publish it.",
        (BuildSettings, BuildOptions),
        (
            "build --catalogue photos --data data",
            "build --catalogue items.csv --image-root photos --data data",
            "build --data data --dry-run",
            "build --data data --fine-tune auto --retrain",
            "build --data data --executor ray --ray-address head:6379",
        ),
    ),
    "evaluate": Command(
        "Evaluate the published snapshot on labelled photos that are not in it.",
        (EvaluateOptions,),
        (
            "evaluate --data data --queries labelled",
            "evaluate --data data --queries labelled --report evaluation",
        ),
    ),
    "verify": Command(
        "Verify a snapshot: checksums, parts, golden embedding, indexes against exact search.",
        (VerifyOptions,),
        ("verify --data data",),
    ),
    "snapshots": Command(
        "List the snapshots: current, published before, or held back.",
        (DataOptions,),
        ("snapshots --data data", "snapshots --data data --json"),
    ),
    "rollback": Command(
        "Publish an earlier snapshot again.",
        (RollbackOptions,),
        ("rollback --data data", "rollback 20261124T050520123-6d147c --data data"),
    ),
    "diff": Command(
        "Compare two snapshots: items added, removed, moved and edited; accuracy, sizes.",
        (DiffOptions,),
        ("diff 20261124T050520123-6d147c --data data",),
    ),
    "cache prune": Command(
        "Remove embeddings from the cache that no build has used for long.",
        (PruneOptions,),
        ("cache prune --data data --keep-days 7", "cache prune --data data --max-bytes 2000000000"),
    ),
    "report": Command(
        "Show near-duplicate items and doubtful labels of the published snapshot.",
        (ReportOptions,),
        ("report --data data --top 50", "report --data data --sheet doubtful.png"),
    ),
    "plan": Command(
        "Estimate what a catalogue takes, on one machine and on a cluster: memory, disk, cores, hours, nodes.",
        (PlanOptions,),
        ("plan --items 100000000", "plan --items 1000000 --images 3 --augmentations 0 --json"),
    ),
    "export": Command(
        "Write the embeddings of all images as `embeddings.npy` with `paths.json`.",
        (ExportOptions,),
        ("export --data data --out embeddings",),
    ),
    "visualize": Command(
        "Draw a query with its category and hits.",
        (VisualizeOptions,),
        ("visualize photo.jpg --data data --out sheet.png --top-k 20",),
    ),
}
