"""The settings of a build: declared once, remembered beside the data for the next build."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeAlias

from pydantic import Field, SkipValidation

from indexer.embedding.augmentation import Augmentation
from indexer.files.location import absolute, location
from indexer.partitions.index_policy import INDEX_KINDS, IndexPolicy
from shared.errors import SettingsError, SnapshotMissing
from shared.images.limits import ImageLimits
from shared.images.preprocessing import DEFAULT_SIDE_PX, MAX_SIDE_PX, MIN_SIDE_PX, SIDE_STEP_PX
from shared.index.index_kind import EXACT
from shared.index.stored_vectors import ENCODINGS
from shared.milvus.address import EMBEDDED, MilvusAddress
from shared.options import Help, OneOf, Option, Parse, check_options, options_of
from shared.snapshot.data_directory import DataDirectory

BACKBONES = ("auto", "efficientnet_b0", "efficientnet_lite0")
INDEX_VIEWS = ("original", "all")
FINE_TUNE = ("off", "auto", "on")
REPORT = ("on", "off")
EXECUTORS = ("local", "ray")
Location: TypeAlias = Annotated[Path, Parse(location, "a path or URL"), SkipValidation]
"""A path, or what `location` makes of a URL."""


@dataclass(frozen=True)
class BuildSettings:
    """The options of `indexer build`; option `--max-bad` is the attribute `max_bad`."""

    catalogue: Annotated[
        Location,
        Help(
            "the items: one folder per category, or a CSV, JSON-lines or Parquet file",
            default="as in the last build",
            see="how-to/catalogues.md",
        ),
    ]
    data: Annotated[Path, Help("the data directory, into which snapshots are published", metavar="DIR")] = Path("data")
    embeddings: Annotated[
        Path | None,
        Help(
            "a NumPy file of embeddings made elsewhere, `(n, dim)`, instead of `--catalogue`",
            metavar="FILE.npy",
            see="how-to/catalogues.md#precomputed-embeddings",
        ),
    ] = None
    image_root: Annotated[
        Location | None,
        Help("the directory or URL that a file's image paths are relative to", default="the file's directory"),
    ] = None
    backbone: Annotated[
        str,
        OneOf(BACKBONES),
        Help(
            "the base network: `efficientnet_b0`, `efficientnet_lite0`, or `auto` for B0 where its weights are"
            " available, else Lite0",
            default="the published one, else `auto`",
            metavar="NAME",
        ),
    ] = "auto"
    weights: Annotated[
        Path | None,
        Help(
            "a file with the weights of the base network",
            default="as published, else those of ImageNet",
            metavar="FILE",
        ),
    ] = None
    side: Annotated[
        int | None,
        Field(ge=MIN_SIDE_PX, le=MAX_SIDE_PX, multiple_of=SIDE_STEP_PX),
        Help(
            "the side of the base network's input, in pixels; a larger one is mostly more accurate, and slower",
            default=f"as published, else {DEFAULT_SIDE_PX}",
            metavar="PX",
            see="how-to/make-it-better.md",
        ),
    ] = None
    fine_tune: Annotated[
        str,
        OneOf(FINE_TUNE),
        Help(
            "tune the last blocks of the base network on the catalogue; `auto`: if there are enough images",
            default="as published, else `off`",
            see="how-to/fine-tuning.md",
        ),
    ] = "off"
    augmentations: Annotated[
        int, Field(ge=0, le=64), Help("augmented copies of each image, to train the classifier on")
    ] = 2
    words: Annotated[
        str,
        Help(
            "the metadata that describe items, to learn from and to search by: `auto` for texts with repeated words,"
            " names of columns separated by commas, or `none`",
            metavar="COLUMNS",
            see="how-to/words.md",
        ),
    ] = "auto"
    index_views: Annotated[
        str, OneOf(INDEX_VIEWS), Help("index the original images alone, or their augmented copies too")
    ] = "original"
    index_kind: Annotated[
        str,
        OneOf(INDEX_KINDS),
        Help(
            "the index of larger categories; `auto` chooses it by measurements, `exact` compares every row",
            see="how-to/reindexing.md#large-catalogues",
        ),
    ] = "auto"
    vectors: Annotated[
        str,
        OneOf(ENCODINGS),
        Help("the encoding of embeddings; `int8` takes a quarter of the disk and memory, scores are within 0.005"),
    ] = "float32"
    max_bytes_per_vector: Annotated[
        int | None,
        Field(gt=0),
        Help("maximum size of an approximate index per embedding, besides the embedding", default="no limit"),
    ] = None
    store: Annotated[
        str,
        Help(
            "where the vectors go: `embedded`, into the snapshot, or `milvus+http://HOST:19530`",
            default="as published, else `embedded`",
            metavar="ADDRESS",
            see="how-to/outgrow-one-machine.md",
        ),
    ] = EMBEDDED
    max_bad: Annotated[
        float, Field(ge=0, le=1), Help("maximum share of catalogue entries that may be bad", metavar="SHARE")
    ] = 0.05
    max_image_bytes: Annotated[int, Field(gt=0), Help("leave out larger image files, in bytes")] = 50 * 1024 * 1024
    max_image_pixels: Annotated[int, Field(gt=0), Help("leave out images with more pixels")] = 100_000_000
    workers: Annotated[
        int,
        Field(ge=0, le=1024),
        Help("threads that decode and embed, or workers of the cluster", default="one per core"),
    ] = 0
    executor: Annotated[
        str,
        OneOf(EXECUTORS),
        Help(
            "where images are embedded: on this machine, or on a Ray cluster",
            see="how-to/outgrow-one-machine.md#ray-for-the-embedding",
        ),
    ] = "local"
    ray_address: Annotated[
        str | None,
        Help(
            "the address of the Ray cluster",
            default="`RAY_ADDRESS`, else a cluster on this machine",
            metavar="ADDRESS",
        ),
    ] = None
    shards: Annotated[
        Location | None,
        Help("where the cluster's workers write to: a path or URL that all reach", default="`shards` in `--data`"),
    ] = None
    shard_images: Annotated[
        int, Field(ge=1, le=1_000_000), Help("maximum number of images that a worker writes at once")
    ] = 10_000
    seed: Annotated[
        int, Field(ge=0, le=2**31 - 1), Help("the random seed of augmentation, held-out split and training")
    ] = 0
    keep: Annotated[
        int,
        Field(ge=1),
        Help("snapshots that stay, the published one included; one that a service has open always stays"),
    ] = 5
    report: Annotated[
        str,
        OneOf(REPORT),
        Help("write a report into the snapshot, evaluated on held-out items", see="how-to/read-the-report.md"),
    ] = "on"
    feedback: Annotated[
        Path | None,
        Help(
            "train on user feedback too: the file that the service's `PARECIDO_FEEDBACK` names",
            metavar="FILE",
            see="how-to/feedback.md",
        ),
    ] = None
    retrain: Annotated[
        bool,
        Help("train the classifier again, and a fine-tuned base, even if nothing has changed", remembered=False),
    ] = False
    rehash: Annotated[
        bool, Help("read every image file, even if its size and time are unchanged", remembered=False)
    ] = False
    force: Annotated[
        bool, Help("publish the snapshot even if it is worse than the published one", remembered=False)
    ] = False

    def __post_init__(self) -> None:
        """Check every value, and the combinations.

        Raises:
            SettingsError: the message names the option, its value, and what was expected.
        """
        check_options(self, option_flag)
        if self.embeddings is not None:
            _require(self.fine_tune == "off", "fine_tune", self.fine_tune, "off with --embeddings")
            has_network = self.side is None or self.backbone != "auto"
            _require(has_network, "side", self.side, "none with --embeddings, unless --backbone names what made them")
        if self.store != EMBEDDED:
            MilvusAddress.parse(self.store)
            limit = self.max_bytes_per_vector
            _require(self.vectors == "float32", "vectors", self.vectors, "float32 with --store milvus+…")
            _require(limit is None, "max_bytes_per_vector", limit, "no limit with --store milvus+…")
            _require(self.index_kind != "ivf", "index_kind", "ivf", "one of: auto, exact, hnsw with --store milvus+…")

    @property
    def threads(self) -> int:
        """Number of threads that decode and embed."""
        return self.workers or os.cpu_count() or 1

    @property
    def augmentation(self) -> Augmentation:
        """Parameters of the augmented copies."""
        return Augmentation(copies=self.augmentations, seed=self.seed)

    @property
    def index_policy(self) -> IndexPolicy:
        """Indexes that partitions may have; Milvus indexes what it stores by itself."""
        if self.store != EMBEDDED:
            return IndexPolicy(EXACT)
        return IndexPolicy(self.index_kind, self.vectors, self.max_bytes_per_vector)

    @property
    def image_limits(self) -> ImageLimits:
        """Limits above which images are left out."""
        return ImageLimits(self.max_image_bytes, self.max_image_pixels, max_memory_bytes=None)

    def as_dict(self) -> dict[str, Any]:
        """Values to remember, for JSON; paths are absolute, so that a later build finds them from any directory."""
        values = {name: getattr(self, name) for name, option in _OPTIONS.items() if option.help.remembered}
        return {
            name: absolute(value) if value is not None and _OPTIONS[name].type is Path else value
            for name, value in values.items()
        }


_OPTIONS = options_of(BuildSettings)


def option_flag(name: str) -> str:
    """Return the option of the command line for an attribute: `--max-bad` for `max_bad`."""
    return f"--{name.replace('_', '-')}"


def remembered_settings(data: Path) -> BuildSettings:
    """Read the settings of the last published build in a data directory; options of later versions are ignored.

    Raises:
        SnapshotMissing: nothing has been published there yet.
        SettingsError: the file is damaged.
    """
    path = DataDirectory(data).build_settings
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise SnapshotMissing(f"{path} does not exist: name a catalogue with --catalogue PATH first") from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} can't be read: {error}") from error
    if not isinstance(values, dict):
        raise SettingsError(f"{path} holds a {type(values).__name__}; expected a JSON object")
    try:
        known = {name: _remembered(_OPTIONS[name], value) for name, value in values.items() if name in _OPTIONS}
        return BuildSettings(**{**known, "data": data})
    except (TypeError, SettingsError) as error:
        raise SettingsError(f"{path} does not hold the settings of a build: {error}") from error


def _remembered(option: Option, value: Any) -> Any:
    if option.type is not Path or value is None:
        return value
    if not isinstance(value, str):
        raise SettingsError(f"{option_flag(option.name)} is {value!r}; expected a path")
    return option.parse(value)


def _require(is_valid: bool, name: str, value: Any, expected: str) -> None:
    if not is_valid:
        raise SettingsError(f"{option_flag(name)} is {value!r}; expected {expected}")
