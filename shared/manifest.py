"""`manifest.json`: how a snapshot describes itself.

The seal shows damage, not intent: whoever can write the file can seal it again. So every field is checked for its type
and its range when it is read, and nothing that is opened later is trusted because of the seal.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, ClassVar, Literal, NoReturn

from pydantic import AfterValidator, ConfigDict, Field, PlainValidator, TypeAdapter, ValidationError

from shared.errors import SnapshotError
from shared.files.regular_file import read_regular

FORMAT_VERSION = 2
_MOST_BYTES = 64 << 20
"""Ten times what one of ten thousand categories takes."""
_MOST_DIMENSIONS = 65_536
_MOST_ROWS = 1 << 40
_SHOWN = 100
_READABLE = (1, 2)
"""Format 1 has nothing but exact indexes: what it lacks has its default here."""


def _text(value: object) -> str:
    """Any text, lone surrogates too: file systems have names that are not UTF-8."""
    if not isinstance(value, str) or "\0" in value:
        raise ValueError("expected text without NUL")
    return value


def _file_name(value: object) -> str:
    name = _text(value)
    path = PurePosixPath(name)
    if not name or path.is_absolute() or ".." in path.parts or path.as_posix() != name:
        raise ValueError("expected the path of a file below the snapshot's directory")
    return name


def _time(value: object) -> str:
    text = _text(value)
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("expected a time with its zone, in ISO 8601")
    return text


def _distinct_names(categories: "tuple[CategoryEntry, ...]") -> "tuple[CategoryEntry, ...]":
    if len({entry.name for entry in categories}) < len(categories):
        raise ValueError("expected categories of different names")
    return categories


Text = Annotated[str, PlainValidator(_text)]
FileName = Annotated[str, PlainValidator(_file_name)]
Count = Annotated[int, Field(strict=True, ge=0, le=_MOST_ROWS)]
Sha256 = Annotated[str, Field(strict=True, pattern=r"^[0-9a-f]{64}$")]
Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_NO_OTHERS = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class CategoryEntry:
    """One category of a snapshot.

    Attributes:
        name: the label.
        items: how many items.
        images: how many images these have.
        rows: how many embeddings its partition holds (images, or images and their augmented views).
        index_kind: `exact`, or the approximate index, as `index_kind` spells it; format 1 has FAISS's class.
        ann_recall_at_10: measured at build time against exact search.
        content: a digest of the embeddings in the partition, by what they were made of: the same content, the same
            index.
        vectors: how embeddings are kept: `float32`, or `int8`.
        effort: `efSearch` or `nprobe` of a search; None where all rows are compared.
        depth: how many rows the index proposes for ten hits; None where all rows are compared.
        search_p50_ms: median processor time of a search for ten when it was built; None where all rows are compared.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _NO_OTHERS

    name: Text
    items: Count
    images: Count
    rows: Count
    index_kind: Text
    ann_recall_at_10: Annotated[Finite, Field(ge=0, le=1)]
    content: Text = ""
    vectors: Text = "float32"
    effort: Count | None = None
    depth: Count | None = None
    search_p50_ms: Annotated[Finite, Field(ge=0)] | None = None


@dataclass(frozen=True)
class StoreEntry:
    """The collection of Milvus that has a snapshot's vectors.

    Attributes:
        address: as `--store` spells it, without credentials.
        collection: its name.
        index_type: as Milvus spells it.
        rows: how many vectors it has.
        sample: the SHA-256 of some of them, in hexadecimal; see `shared.milvus.collection`.
        partitions: how many named ones it has; None for one a category. Categories share them where there are fewer.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _NO_OTHERS

    address: Text
    collection: Text
    index_type: Text
    rows: Count
    sample: Text
    partitions: Annotated[Count, Field(ge=1)] | None = None


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
        preprocessing: one of `shared.images.decode.PREPROCESSINGS`, by which queries are decoded too.
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

    __pydantic_config__: ClassVar[ConfigDict] = _NO_OTHERS

    format_version: Annotated[int, Field(strict=True)]
    snapshot_id: Text
    created_at: Annotated[str, PlainValidator(_time)]
    parecido_version: Text
    backbone: Text
    weights: Text
    embedder_id: Text
    dim: Annotated[int, Field(strict=True, ge=1, le=_MOST_DIMENSIONS)]
    metric: Literal["inner_product"]
    preprocessing: Text
    recipe: Text
    index_views: Text
    categories: Annotated[tuple[CategoryEntry, ...], AfterValidator(_distinct_names)]
    items: Count
    images: Count
    skipped: Count
    image_root: Text
    content: Text
    golden: tuple[Finite, ...]
    classifier: Mapping[Text, Any]
    settings: Mapping[Text, Any]
    checksums: Mapping[FileName, Sha256]
    tuning: Mapping[Text, Any] | None = None
    samples: Mapping[FileName, Sha256] = field(default_factory=dict)
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
            SnapshotError: missing, damaged, of another format version, or with values that can't be.
        """
        try:
            # All numbers have to be finite: answers are JSON, which has no others.
            text = read_regular(path, _MOST_BYTES, path.parent.parent).decode("utf-8")
            content = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
            version, seal = content["format_version"], content.pop("seal", None)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, SnapshotError) as error:
            raise SnapshotError(f"the manifest {path} can't be read: {error}") from error
        if version not in _READABLE:
            raise SnapshotError(f"{path} has format version {version}; this version of Parecido reads 1 and 2")
        if seal != _seal(content):
            raise SnapshotError(f"the manifest {path} was changed after it was written: its seal does not match")
        try:
            manifest: Manifest = _ADAPTER.validate_python(content)
        except ValidationError as error:
            raise SnapshotError(f"the manifest {path} has missing or unknown fields: {_first(error)}") from error
        return manifest


_ADAPTER = TypeAdapter(Manifest)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"it has {name}; expected finite numbers")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _refuse_constant(text[:_SHOWN])


def _first(error: ValidationError) -> str:
    """The first thing that is wrong, without the value, which may be long."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"[:500]


def _seal(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
