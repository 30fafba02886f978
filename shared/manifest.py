"""`manifest.json`: a snapshot's description of itself.

The seal detects damage, not tampering: anyone who can write the file can seal it again. So the type and the range of
every field are checked when it is read, and files that are opened later are not trusted because of the seal.
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
_READABLE_VERSIONS = (1, 2)
"""Format 1 has only exact indexes; fields that it lacks have their defaults."""
_MAX_BYTES = 64 << 20
"""Ten times the size for ten thousand categories."""
_MAX_DIM = 65_536
_MAX_COUNT = 1 << 40
_SHOWN_CHARS = 100
_MAX_MESSAGE_CHARS = 500
_FILE_KEYS = {"search_parameter": "effort", "n_candidates": "depth"}
"""Keys of the file that differ from the names of the fields."""


def _text(value: object) -> str:
    """Accept any text, even with lone surrogates: file names need not be UTF-8."""
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
        raise ValueError("expected a time with a time zone, in ISO 8601")
    return text


def _distinct_names(categories: "tuple[CategoryEntry, ...]") -> "tuple[CategoryEntry, ...]":
    if len({entry.name for entry in categories}) < len(categories):
        raise ValueError("expected distinct names of categories")
    return categories


Text = Annotated[str, PlainValidator(_text)]
FileName = Annotated[str, PlainValidator(_file_name)]
Count = Annotated[int, Field(strict=True, ge=0, le=_MAX_COUNT)]
Sha256 = Annotated[str, Field(strict=True, pattern=r"^[0-9a-f]{64}$")]
Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]
_NO_OTHERS = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class CategoryEntry:
    """One category of a snapshot.

    Attributes:
        name: the label.
        items: number of items.
        images: number of their images.
        rows: number of embeddings in its partition: images, or images and their augmented views.
        index_kind: `exact`, or the approximate index as `index_kind` spells it; in format 1 FAISS's class.
        ann_recall_at_10: measured at build time against exact search.
        content: a digest of the embeddings in the partition, by their inputs: the same content, the same index.
        vectors: encoding of the embeddings: `float32` or `int8`.
        search_parameter: `efSearch` or `nprobe` of a search; None for an exact index.
        n_candidates: number of candidates for ten hits; None for an exact index.
        search_p50_ms: median processor time of a search for ten hits, at build time; None for an exact index.
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
    search_parameter: Annotated[Count | None, Field(alias=_FILE_KEYS["search_parameter"])] = None
    n_candidates: Annotated[Count | None, Field(alias=_FILE_KEYS["n_candidates"])] = None
    search_p50_ms: Annotated[Finite, Field(ge=0)] | None = None


@dataclass(frozen=True)
class StoreEntry:
    """The Milvus collection that holds a snapshot's vectors.

    Attributes:
        address: as `--store` spells it, without credentials.
        collection: its name.
        index_type: as Milvus spells it.
        rows: number of vectors.
        sample: the SHA-256 of some of them, in hexadecimal; see `shared.milvus.collection`.
        partitions: number of Milvus partitions, which categories share if there are fewer; None for one per category.
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
    """The description of a snapshot.

    Attributes:
        format_version: of the layout of the snapshot.
        snapshot_id: also the name of its directory.
        created_at: ISO 8601, UTC.
        parecido_version: the version that built it.
        backbone: `efficientnet_b0` or `efficientnet_lite0`; `none` if embeddings were given without a backbone.
        weights: the source of the backbone's weights.
        embedder_id: hash of `embedder.tflite`.
        dim: length of an embedding.
        metric: always `inner_product`.
        recipe: names everything besides the images that embeddings depend on.
        preprocessing: of images and queries; the name of a `shared.images.preprocessing.Preprocessing`.
        index_views: `original` or `all`.
        categories: in the order of the classifier's columns.
        items: number of items.
        images: number of images.
        skipped: number of catalogue entries that were skipped; `report/skipped.jsonl` lists them.
        image_root: the directory that image paths are relative to.
        content: a digest of all items with their images and metadata, in order.
        golden: `(dim,)`, the embedding of the built-in test image; empty if embeddings were given without a backbone.
        classifier: metrics on held-out items.
        settings: the build's settings.
        checksums: file, relative to the snapshot → SHA-256.
        samples: large file of vectors → SHA-256 of samples of it, for quick verification.
        tuning: the outcome of fine-tuning the backbone; None if it was not tried.
        store: the collection with the vectors; None if they are in the snapshot.
        words: the metadata that describe items, and what was learned from them; None if there are none.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _NO_OTHERS

    format_version: Annotated[int, Field(strict=True)]
    snapshot_id: Text
    created_at: Annotated[str, PlainValidator(_time)]
    parecido_version: Text
    backbone: Text
    weights: Text
    embedder_id: Text
    dim: Annotated[int, Field(strict=True, ge=1, le=_MAX_DIM)]
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
    words: Mapping[Text, Any] | None = None

    def write(self, path: Path) -> None:
        """Write it as JSON, sealed with a checksum of its own."""
        content = asdict(self)
        content["categories"] = [
            {_FILE_KEYS.get(name, name): value for name, value in entry.items()} for entry in content["categories"]
        ]
        for name in ("store", "words"):
            if content[name] is None:
                del content[name]  # so that earlier versions can read it
        path.write_text(json.dumps({**content, "seal": _seal(content)}, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> "Manifest":
        """Read the file that `write` wrote.

        Raises:
            SnapshotError: it is missing or damaged, is of another format version, or has invalid values.
        """
        try:
            # Numbers must be finite: responses are JSON, which has no others.
            text = read_regular(path, _MAX_BYTES, path.parent.parent).decode("utf-8")
            content = json.loads(text, parse_constant=_reject_constant, parse_float=_finite)
            version, seal = content["format_version"], content.pop("seal", None)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, SnapshotError) as error:
            raise SnapshotError(f"the manifest {path} can't be read: {error}") from error
        if version not in _READABLE_VERSIONS:
            raise SnapshotError(
                f"{path} has format version {version}; expected 1 or 2, which this version of Parecido reads"
            )
        if seal != _seal(content):
            raise SnapshotError(f"the manifest {path} was changed after it was written: its seal does not match")
        try:
            manifest: Manifest = _ADAPTER.validate_python(content)
        except ValidationError as error:
            raise SnapshotError(
                f"the manifest {path} has missing, unknown or invalid fields: {_first(error)}"
            ) from error
        return manifest


_ADAPTER = TypeAdapter(Manifest)


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(f"it has {name}; expected finite numbers")


def _finite(text: str) -> float:
    value = float(text)
    return value if math.isfinite(value) else _reject_constant(text[:_SHOWN_CHARS])


def _first(error: ValidationError) -> str:
    """The first problem, without the value, which may be long."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"[:_MAX_MESSAGE_CHARS]


def _seal(content: Mapping[str, Any]) -> str:
    canonical = json.dumps(content, sort_keys=True)
    return hashlib.sha256(canonical.encode()).hexdigest()
