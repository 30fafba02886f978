"""What a build depends on, typed and checked once; remembered beside the data for `make reindex`."""

import json
import os
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from indexer.embedding.augmentation import Augmentation
from indexer.files.location import absolute, location
from indexer.partitions.index_policy import INDEX_KINDS, IndexPolicy
from shared.errors import SettingsError, SnapshotMissing
from shared.images.decode import ImageLimits
from shared.index.index_kind import EXACT
from shared.index.stored_vectors import ENCODINGS
from shared.milvus.address import EMBEDDED, MilvusAddress
from shared.snapshot.data_directory import DataDirectory

BACKBONES = ("auto", "efficientnet_b0", "efficientnet_lite0")
INDEX_VIEWS = ("original", "all")
FINE_TUNE = ("off", "auto", "on")
REPORT = ("on", "off")
EXECUTORS = ("local", "ray")
_PATHS = ("catalogue", "embeddings", "image_root", "weights", "feedback", "shards")
_FOR_ONCE = ("retrain", "rehash", "force")


@dataclass(frozen=True)
class BuildSettings:
    """The options of `indexer build`.

    Attributes:
        catalogue: a directory, or a CSV, JSON-lines or Parquet file; of given embeddings, the JSON lines of their rows.
        data: where snapshots are published.
        image_root: what a file's image paths are relative to; None for the file's directory.
        backbone: one of `BACKBONES`.
        weights: a weights file for the backbone.
        fine_tune: tune the base's last blocks on the catalogue: `off`, `on`, or `auto` where there are enough images.
        augmentations: augmented copies an image.
        index_views: index the `original` images, or `all` views.
        index_kind: how larger partitions are indexed: `auto` measures, `exact` compares every row.
        vectors: how embeddings are kept: `float32`, or `int8`, a quarter as large.
        max_bytes_per_vector: what an approximate index may take besides the embeddings; None for no limit.
        store: where the vectors go: `embedded`, into the snapshot, or the address of a Milvus.
        max_bad: share of the entries that may be bad, 0…1.
        max_image_bytes: larger image files are left out.
        max_image_pixels: larger pictures are left out.
        workers: threads that decode and embed, of a cluster the workers; 0 for one a core.
        seed: of augmentation, held-out split and training.
        keep: snapshots that stay, the published one included; older ones are deleted.
        report: write a report into the snapshot, judged by held-out items: `on` or `off`.
        feedback: the file that the service appends feedback to, to train from as well.
        embeddings: a NumPy file of embeddings that were made elsewhere; None embeds the catalogue's images.
        executor: who embeds: this machine (`local`), or a cluster (`ray`).
        ray_address: of the cluster; None for what RAY_ADDRESS names, else a cluster of this machine's own.
        shards: where the cluster's workers write to, a path or URL that all reach; None for `shards` in `data`.
        shard_images: images that a worker embeds between two such files at most.
        retrain: train the classifier again, and the base where it is fine-tuned, whatever has changed; not remembered.
        force: publish also what the gate objects to; not remembered.
        rehash: read every image file, also where its size and time say that it is the same; not remembered.
    """

    catalogue: Path
    data: Path
    image_root: Path | None = None
    backbone: str = "auto"
    weights: Path | None = None
    fine_tune: str = "off"
    augmentations: int = 2
    index_views: str = "original"
    index_kind: str = "auto"
    vectors: str = "float32"
    max_bytes_per_vector: int | None = None
    store: str = EMBEDDED
    max_bad: float = 0.05
    max_image_bytes: int = 50 * 1024 * 1024
    max_image_pixels: int = 100_000_000
    workers: int = 0
    seed: int = 0
    keep: int = 5
    report: str = "on"
    feedback: Path | None = None
    embeddings: Path | None = None
    executor: str = "local"
    ray_address: str | None = None
    shards: Path | None = None
    shard_images: int = 10_000
    retrain: bool = False
    rehash: bool = False
    force: bool = False

    def __post_init__(self) -> None:
        """Refuse values that can't be.

        Raises:
            SettingsError: it names the option and the value.
        """
        _require(self.backbone in BACKBONES, "backbone", self.backbone, f"one of {', '.join(BACKBONES)}")
        _require(self.index_views in INDEX_VIEWS, "index-views", self.index_views, f"one of {', '.join(INDEX_VIEWS)}")
        _require(self.fine_tune in FINE_TUNE, "fine-tune", self.fine_tune, f"one of {', '.join(FINE_TUNE)}")
        _require(self.index_kind in INDEX_KINDS, "index-kind", self.index_kind, f"one of {', '.join(INDEX_KINDS)}")
        _require(self.vectors in ENCODINGS, "vectors", self.vectors, f"one of {', '.join(ENCODINGS)}")
        limit = self.max_bytes_per_vector
        _require(limit is None or limit > 0, "max-bytes-per-vector", limit, "more than 0")
        if self.store != EMBEDDED:
            MilvusAddress.parse(self.store)
            _require(self.vectors == "float32", "vectors", self.vectors, "float32 where the vectors go to Milvus")
            _require(limit is None, "max-bytes-per-vector", limit, "nothing where the vectors go to Milvus")
            _require(self.index_kind != "ivf", "index-kind", "ivf", "auto, exact or hnsw where they go to Milvus")
        if self.embeddings is not None:
            _require(self.fine_tune == "off", "fine-tune", self.fine_tune, "off where --embeddings are given")
        _require(self.executor in EXECUTORS, "executor", self.executor, f"one of {', '.join(EXECUTORS)}")
        _require(1 <= self.shard_images <= 1_000_000, "shard-images", self.shard_images, "1 to 1,000,000")
        _require(self.report in REPORT, "report", self.report, f"one of {', '.join(REPORT)}")
        _require(0 <= self.augmentations <= 64, "augmentations", self.augmentations, "0 to 64")
        _require(0.0 <= self.max_bad <= 1.0, "max-bad", self.max_bad, "a share from 0 to 1")
        _require(self.max_image_bytes > 0, "max-image-bytes", self.max_image_bytes, "more than 0")
        _require(self.max_image_pixels > 0, "max-image-pixels", self.max_image_pixels, "more than 0")
        _require(0 <= self.workers <= 1024, "workers", self.workers, "0 (one a core) to 1024")
        _require(0 <= self.seed < 2**31, "seed", self.seed, "0 to 2,147,483,647")
        _require(self.keep >= 1, "keep", self.keep, "1 or more")

    @property
    def threads(self) -> int:
        """How many threads decode and embed."""
        return self.workers or os.cpu_count() or 1

    @property
    def augmentation(self) -> Augmentation:
        """How augmented copies are made."""
        return Augmentation(copies=self.augmentations, seed=self.seed)

    @property
    def index_policy(self) -> IndexPolicy:
        """Which indexes partitions may have: what goes to Milvus is indexed there."""
        if self.store != EMBEDDED:
            return IndexPolicy(EXACT)
        return IndexPolicy(self.index_kind, self.vectors, self.max_bytes_per_vector)

    @property
    def image_limits(self) -> ImageLimits:
        """What images are left out for."""
        return ImageLimits(self.max_image_bytes, self.max_image_pixels, max_memory_bytes=None)

    def as_dict(self) -> dict[str, Any]:
        """What is remembered; paths are absolute, so that a later build finds them from anywhere."""
        told = {name: value for name, value in asdict(self).items() if name not in _FOR_ONCE}
        places = {name: absolute(told[name]) for name in (*_PATHS, "data") if told[name] is not None}
        return told | places


def remembered_settings(data: Path) -> BuildSettings:
    """The settings of the last published build in this data directory.

    Raises:
        SnapshotMissing: nothing was published here yet.
        SettingsError: the file is damaged.
    """
    path = DataDirectory(data).build_settings
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise SnapshotMissing(f"{path} does not exist: name a catalogue with --catalogue PATH first") from None
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} can't be read: {error}") from error
    if not isinstance(found, dict):
        raise SettingsError(f"{path} is no JSON object but {type(found).__name__}")
    paths = {name for name in _PATHS if found.get(name) is not None}
    known = {field.name for field in fields(BuildSettings)}
    try:
        values: dict[str, Any] = {
            name: location(value) if name in paths else value for name, value in found.items() if name in known
        }
        return BuildSettings(**{**values, "data": data})
    except (TypeError, AttributeError) as error:
        raise SettingsError(f"{path} does not hold the settings of a build: {error}") from error


def _require(good: bool, option: str, found: Any, wanted: str) -> None:
    if not good:
        raise SettingsError(f"--{option} is {found!r}; wanted {wanted}")
