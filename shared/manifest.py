"""`manifest.json`: how a snapshot describes itself."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from shared.errors import SnapshotError

FORMAT_VERSION = 2
_READABLE = (1, 2)
"""Format 1 has nothing but exact indexes: what it lacks has its default here."""


@dataclass(frozen=True)
class CategoryEntry:
    """One category of a snapshot.

    Attributes:
        name: the label.
        items: how many items.
        images: how many images these have.
        rows: how many embeddings its partition holds (images, or images and their augmented views).
        index_kind: `exact`, or the approximate index, as `shared.index_kind` spells it; format 1 has FAISS's class.
        ann_recall_at_10: measured at build time against exact search.
        content: a digest of the embeddings in the partition, by what they were made of: the same content, the same
            index.
        vectors: how embeddings are kept: `float32`, or `int8`.
        effort: `efSearch` or `nprobe` of a search; None where all rows are compared.
        depth: how many rows the index proposes for ten hits; None where all rows are compared.
        search_p50_ms: median processor time of a search for ten when it was built; None where all rows are compared.
    """

    name: str
    items: int
    images: int
    rows: int
    index_kind: str
    ann_recall_at_10: float
    content: str = ""
    vectors: str = "float32"
    effort: int | None = None
    depth: int | None = None
    search_p50_ms: float | None = None


@dataclass(frozen=True)
class StoreEntry:
    """The collection of Milvus that has a snapshot's vectors.

    Attributes:
        address: as `--store` spells it, without credentials.
        collection: its name.
        index_type: as Milvus spells it.
        rows: how many vectors it has.
        sample: the SHA-256 of some of them, in hexadecimal; see `shared.milvus_collection`.
        partitions: how many named ones it has; None for one a category. Categories share them where there are fewer.
    """

    address: str
    collection: str
    index_type: str
    rows: int
    sample: str
    partitions: int | None = None


@dataclass(frozen=True)
class Manifest:
    """Everything about a snapshot but its data.

    Attributes:
        format_version: of the layout; another one is refused.
        snapshot_id: also the name of its directory.
        created_at: ISO 8601, UTC.
        parecido_version: what built it.
        backbone: `efficientnet_b0` or `efficientnet_lite0`; `none` where embeddings were given without a base.
        weights: where the backbone's weights came from.
        embedder_id: hash of `embedder.tflite`.
        dim: length of an embedding.
        metric: always `inner_product`.
        recipe: names everything that embeddings depend on besides the images.
        preprocessing: one of `shared.images.PREPROCESSINGS`, by which queries are decoded too.
        index_views: `original` or `all`.
        categories: in the order of the classifier's columns.
        items: how many items.
        images: how many images.
        skipped: how many catalogue entries were left out; `report/skipped.jsonl` lists them.
        image_root: the directory that image paths are relative to.
        content: a digest of all items with their images and metadata, in order.
        golden: `(dim,)`, the embedding of the built-in test picture; empty where embeddings were given without a base.
        classifier: figures on held-out items.
        settings: the build's settings.
        checksums: file, relative to the snapshot → SHA-256.
        samples: large file of vectors → the SHA-256 of samples of it, for checking it soon.
        tuning: how fine-tuning the base went; None where it was not tried.
        store: where the vectors are; None where they are in the snapshot.
    """

    format_version: int
    snapshot_id: str
    created_at: str
    parecido_version: str
    backbone: str
    weights: str
    embedder_id: str
    dim: int
    metric: str
    preprocessing: str
    recipe: str
    index_views: str
    categories: tuple[CategoryEntry, ...]
    items: int
    images: int
    skipped: int
    image_root: str
    content: str
    golden: tuple[float, ...]
    classifier: Mapping[str, Any]
    settings: Mapping[str, Any]
    checksums: Mapping[str, str]
    tuning: Mapping[str, Any] | None = None
    samples: Mapping[str, str] = field(default_factory=dict)
    store: StoreEntry | None = None

    def write(self, path: Path) -> None:
        """Write it as JSON, sealed with a checksum of its own."""
        content = asdict(self)
        if self.store is None:
            del content["store"]  # so that versions that know of none read it
        path.write_text(json.dumps({**content, "seal": _seal(content)}, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """Read what `write` wrote.

        Raises:
            SnapshotError: missing, damaged, or of another format version.
        """
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            version, seal = content["format_version"], content.pop("seal", None)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise SnapshotError(f"the manifest {path} can't be read: {error}") from error
        if version not in _READABLE:
            raise SnapshotError(f"{path} has format version {version}; this version of Parecido reads 1 and 2")
        if seal != _seal(content):
            raise SnapshotError(f"the manifest {path} was changed after it was written: its seal does not match")
        try:
            categories = tuple(CategoryEntry(**entry) for entry in content.pop("categories"))
            told = content.pop("store", None)
            store = None if told is None else StoreEntry(**told)
            return cls(categories=categories, golden=tuple(content.pop("golden")), store=store, **content)
        except (KeyError, TypeError) as error:
            raise SnapshotError(f"the manifest {path} has missing or unknown fields: {error}") from error


def _seal(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
