"""Labelled queries from user feedback, as additional training data of the classifier.

1. Read the file that the service appends to, one record per line.
2. Leave out records that don't fit the catalogue, and report their number.
3. Keep the last of several records on the same image, and the newest images if there are very many.

All that fit are used, even if the query was classified correctly: otherwise what was learned from them would be lost.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from indexer.console.progress import Reporter
from indexer.embedding.embed_catalogue import EmbeddedCatalogue
from shared.errors import SettingsError
from shared.feedback_record import MAX_LINE_BYTES, FeedbackRecord
from shared.vectors import Vectors, unit_rows

_MAX_QUERIES = 10_000  # 50 MB
_DAMAGED = "in damaged or incomplete lines"
_SUPERSEDED = "superseded by later feedback"
_TOO_MANY = f"older than the newest {_MAX_QUERIES:,}"


@dataclass(frozen=True)
class LabelledQueries:
    """Queries with the category that users gave, each image once.

    Attributes:
        embeddings: `(n, dim)` float32, unit rows.
        categories: `n` names, all of them the catalogue's.
        digest: of the queries and categories.
    """

    embeddings: Vectors
    categories: tuple[str, ...]
    digest: str

    def columns(self, categories: Sequence[str]) -> NDArray[np.int64]:
        """`(n,)` int64: the index of each query's category in `categories`."""
        column = {category: number for number, category in enumerate(categories)}
        return np.array([column[category] for category in self.categories], dtype=np.int64)


def require_feedback(path: Path | None) -> None:
    """Check early that a feedback file exists, since a build reads it only after embedding all images.

    Raises:
        SettingsError: it does not. Training without it would undo what was learned from it.
    """
    if path is not None and not path.is_file():
        raise SettingsError(f"--feedback {path} is not a file; expected the one in the service's PARECIDO_FEEDBACK")


def read_feedback(
    path: Path | None, embedder_id: str, dim: int, embedded: EmbeddedCatalogue, reporter: Reporter
) -> LabelledQueries | None:
    """Read the labelled queries to train on besides a catalogue; None if there are none.

    Args:
        path: the file; None for none.
        embedder_id: records with embeddings of another embedder are left out.
        dim: the dimension of its embeddings.
        embedded: the catalogue; its own images are left out, because their categories are known and their items may be
            held out from training.
        reporter: receives a line with the numbers of records used and left out.

    Raises:
        SettingsError: the file can't be read.
    """
    if path is None:
        return None
    kept: dict[str, FeedbackRecord] = {}
    left_out: Counter[str] = Counter()
    record_filter = _RecordFilter(embedder_id, dim, embedded)
    try:
        for line in _lines(path):
            _add(line, record_filter, kept, left_out)
    except OSError as error:
        raise SettingsError(f"--feedback {path} can't be read: {error.strerror}") from error
    reporter.say(_report(path, len(kept), left_out))
    return _labelled(kept) if kept else None


class _RecordFilter:
    """Decides which records a catalogue's classifier can be trained on."""

    def __init__(self, embedder_id: str, dim: int, embedded: EmbeddedCatalogue) -> None:
        self._embedder_id = embedder_id
        self._dim = dim
        self._categories = set(embedded.categories)
        self._images = set(embedded.digests)

    def objection(self, record: FeedbackRecord) -> str | None:
        """Return the reason to leave a record out; None if it is used."""
        if record.embedding is None or self._is_in_catalogue(record.image_sha256):
            return "on images of the catalogue itself"
        if record.embedder_id != self._embedder_id or len(record.embedding) != self._dim:
            return "of another embedder"
        return None if record.category in self._categories else "of categories that the catalogue does not have"

    def _is_in_catalogue(self, image_sha256: str | None) -> bool:
        return image_sha256 is not None and bytes.fromhex(image_sha256) in self._images


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES):
            if line.strip():
                yield line


def _add(line: bytes, record_filter: _RecordFilter, kept: dict[str, FeedbackRecord], left_out: Counter[str]) -> None:
    """Add the record of a line, in place of an earlier one on the same image."""
    try:
        record = FeedbackRecord.from_line(line)
    except ValueError:
        left_out[_DAMAGED] += 1
        return
    key = _key(record)
    if kept.pop(key, None) is not None:
        left_out[_SUPERSEDED] += 1
    objection = record_filter.objection(record)
    if objection is not None:
        left_out[objection] += 1
        return
    kept[key] = record
    if len(kept) > _MAX_QUERIES:
        del kept[next(iter(kept))]
        left_out[_TOO_MANY] += 1


def _key(record: FeedbackRecord) -> str:
    """The identity of the query's image, or of its embedding if no image was sent."""
    if record.image_sha256 is not None:
        return record.image_sha256
    return hashlib.sha256(b"" if record.embedding is None else record.embedding.tobytes()).hexdigest()


def _report(path: Path, n_kept: int, left_out: Counter[str]) -> str:
    line = f"feedback of {path}: {n_kept:,} to train on"
    if not left_out:
        return line
    return f"{line}; left out: " + ", ".join(f"{count:,} {reason}" for reason, count in sorted(left_out.items()))


def _labelled(kept: dict[str, FeedbackRecord]) -> LabelledQueries:
    """Combine records in an order that does not depend on their time."""
    keys = sorted(kept)
    embeddings = [embedding for key in keys if (embedding := kept[key].embedding) is not None]
    categories = tuple(kept[key].category for key in keys)
    digest = hashlib.sha256(json.dumps([keys, categories]).encode()).hexdigest()
    return LabelledQueries(unit_rows(np.stack(embeddings)), categories, digest)
