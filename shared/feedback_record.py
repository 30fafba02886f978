"""Records of user feedback on queries, one JSON object per line: the service appends them, the indexer trains on them.

A record has the query's embedding, not its image: that is enough for training, and no photo is stored.
"""

import base64
import json
import math
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

FORMAT = 1
MAX_LINE_BYTES = 1024 * 1024
"""Far more than a record; bounds the memory for reading a damaged file."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_STORED = np.dtype("<f4")


@dataclass(frozen=True, eq=False)
class FeedbackRecord:
    """A query with its predicted and its true category.

    Attributes:
        feedback_id: identifies the record.
        time: of the feedback, with a time zone.
        snapshot_id: the snapshot that answered the query.
        embedder_id: the embedder of the query.
        predicted_category: the most probable category.
        confidence: its calibrated probability, 0…1.
        category: the true category.
        clicked_item_id: the hit that the user chose, if any.
        image_sha256: of the image file, in hexadecimal; None if the query was not an image.
        query_item_id: the item that was the query; None if it was an image or an embedding.
        embedding: `(dim,)` float32 of length 1; None if the query was an item, whose embeddings are in the catalogue.
    """

    feedback_id: str
    time: datetime
    snapshot_id: str
    embedder_id: str
    predicted_category: str
    confidence: float
    category: str
    clicked_item_id: str | None = None
    image_sha256: str | None = None
    query_item_id: str | None = None
    embedding: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: a value is invalid; it names the field.
        """
        if (self.query_item_id is None) == (self.embedding is None):
            raise ValueError("expected exactly one of `query_item_id` and `embedding`")
        if self.time.tzinfo is None:
            raise ValueError(f"`time` is {self.time.isoformat()}; expected one with a time zone")
        if not 0 <= self.confidence <= 1:
            raise ValueError(f"`confidence` is {self.confidence}; expected 0 to 1")
        if self.image_sha256 is not None and not _SHA256.fullmatch(self.image_sha256):
            raise ValueError(f"`image_sha256` is {self.image_sha256!r}; expected 64 hexadecimal digits")
        if self.embedding is not None and not _is_unit(self.embedding):
            raise ValueError(f"`embedding` has shape {self.embedding.shape}; expected a vector of length 1")

    def to_line(self) -> str:
        """The record as a line of ASCII, with its newline."""
        content = {
            "format": FORMAT,
            "id": self.feedback_id,
            "time": self.time.isoformat(timespec="milliseconds"),
            "snapshot_id": self.snapshot_id,
            "embedder_id": self.embedder_id,
            "predicted": {"category": self.predicted_category, "confidence": self.confidence},
            "category": self.category,
            "clicked_item_id": self.clicked_item_id,
            "image_sha256": self.image_sha256,
            "query_item_id": self.query_item_id,
            "embedding": None if self.embedding is None else _encoded(self.embedding),
        }
        return json.dumps(content) + "\n"

    @classmethod
    def from_line(cls, line: bytes) -> "FeedbackRecord":
        """Parse a line that `to_line` wrote.

        Raises:
            ValueError: it is damaged, or of another format.
        """
        try:
            content = json.loads(line)
        except RecursionError as error:
            raise ValueError("the line is nested too deeply") from error
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"the line is not a JSON object of format {FORMAT}")
        predicted, embedding = content.get("predicted"), _optional_text(content, "embedding")
        if not isinstance(predicted, dict):
            raise ValueError("`predicted` is not an object")
        return cls(
            feedback_id=_text(content, "id"),
            time=datetime.fromisoformat(_text(content, "time")),
            snapshot_id=_text(content, "snapshot_id"),
            embedder_id=_text(content, "embedder_id"),
            predicted_category=_text(predicted, "category"),
            confidence=_number(predicted, "confidence"),
            category=_text(content, "category"),
            clicked_item_id=_optional_text(content, "clicked_item_id"),
            image_sha256=_optional_text(content, "image_sha256"),
            query_item_id=_optional_text(content, "query_item_id"),
            embedding=None if embedding is None else _decoded(embedding),
        )


def _is_unit(embedding: NDArray[np.float32]) -> bool:
    if embedding.ndim != 1 or not np.isfinite(embedding).all():
        return False
    return abs(float(np.linalg.norm(embedding.astype(np.float64))) - 1) < 1e-3


def _encoded(embedding: NDArray[np.float32]) -> str:
    return base64.b64encode(embedding.astype(_STORED).tobytes()).decode("ascii")


def _decoded(text: str) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(text, validate=True), dtype=_STORED).astype(np.float32)


def _text(content: dict[str, Any], name: str) -> str:
    value = content.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"`{name}` is not text, or is empty")
    return value


def _optional_text(content: dict[str, Any], name: str) -> str | None:
    return None if content.get(name) is None else _text(content, name)


def _number(content: dict[str, Any], name: str) -> float:
    value = content.get(name)
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return math.inf
