"""Feedback: what a client told of a query, a JSON object a line. The service appends it, the indexer learns from it.

A record has the query's embedding and not its image: enough to train from, and nobody's photo is kept.
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
"""Far more than a record takes; a reader need not hold more of a damaged file."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_STORED = np.dtype("<f4")


@dataclass(frozen=True, eq=False)
class Feedback:
    """One query, what it was taken for, and what it really showed.

    Attributes:
        feedback_id: its own name.
        time: when it was told, with its time zone.
        snapshot_id: that judged the query.
        embedder_id: what the embedding was made by.
        predicted_category: the most probable one.
        confidence: how probable that was, 0…1, calibrated.
        category: the right one.
        clicked_item_id: the item that was chosen, where one was.
        image_sha256: of the image file, in hexadecimal; None where no image was sent.
        query_item_id: the item that was the query; None where it was an image or an embedding.
        embedding: `(dim,)` float32, of length 1; None where the query was an item, whose embeddings the catalogue has.
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
        """Check that it can be.

        Raises:
            ValueError: it names the field.
        """
        if (self.query_item_id is None) == (self.embedding is None):
            raise ValueError("wanted one of `query_item_id` and `embedding`")
        if self.time.tzinfo is None:
            raise ValueError(f"`time` is {self.time.isoformat()}; wanted one with a time zone")
        if not 0 <= self.confidence <= 1:
            raise ValueError(f"`confidence` is {self.confidence}; wanted 0 to 1")
        if self.image_sha256 is not None and not _SHA256.fullmatch(self.image_sha256):
            raise ValueError(f"`image_sha256` is {self.image_sha256!r}; wanted 64 hexadecimal digits")
        if self.embedding is not None and not _is_unit(self.embedding):
            raise ValueError(f"`embedding`, of shape {self.embedding.shape}, is no vector of length 1")

    def to_line(self) -> str:
        """As one line of ASCII, with its end."""
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
    def from_line(cls, line: bytes) -> "Feedback":
        """Read what `to_line` wrote.

        Raises:
            ValueError: it is damaged, or of another format.
        """
        try:
            found = json.loads(line)
        except RecursionError as error:
            raise ValueError("it is nested too deep") from error
        if not isinstance(found, dict) or found.get("format") != FORMAT:
            raise ValueError(f"it is no JSON object of format {FORMAT}")
        predicted, embedding = found.get("predicted"), _optional_text(found, "embedding")
        if not isinstance(predicted, dict):
            raise ValueError("`predicted` is no object")
        return cls(
            feedback_id=_text(found, "id"),
            time=datetime.fromisoformat(_text(found, "time")),
            snapshot_id=_text(found, "snapshot_id"),
            embedder_id=_text(found, "embedder_id"),
            predicted_category=_text(predicted, "category"),
            confidence=_number(predicted, "confidence"),
            category=_text(found, "category"),
            clicked_item_id=_optional_text(found, "clicked_item_id"),
            image_sha256=_optional_text(found, "image_sha256"),
            query_item_id=_optional_text(found, "query_item_id"),
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
        raise ValueError(f"`{name}` is no text")
    return value


def _optional_text(content: dict[str, Any], name: str) -> str | None:
    return None if content.get(name) is None else _text(content, name)


def _number(content: dict[str, Any], name: str) -> float:
    value = content.get(name)
    try:
        return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    except OverflowError:
        return math.inf
