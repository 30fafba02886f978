"""The queries that clients have told the category of, as far as a classifier can be trained from them.

1. Read the file that the service appends to, a record a line.
2. Leave out what does not fit this catalogue, and say how much that is.
3. Of several records on the same image, the last one counts; of very many images, the newest.

All that fit are learned, also those that were classified rightly: else what has been learned would be forgotten again.
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
from shared.feedback_record import MAX_LINE_BYTES, Feedback
from shared.vectors import Vectors, unit_rows

_MOST_QUERIES = 10_000  # 50 MB
_DAMAGED = "in lines that are damaged or not whole"
_SUPERSEDED = "told again later"
_TOO_MANY = f"older than the newest {_MOST_QUERIES:,}"


@dataclass(frozen=True)
class LabelledQueries:
    """Queries whose category was told, each image once.

    Attributes:
        embeddings: `(n, dim)` float32, unit rows.
        categories: `(n,)`, all of them the catalogue's.
        digest: the same digest, the same queries and categories.
    """

    embeddings: Vectors
    categories: tuple[str, ...]
    digest: str

    def columns(self, categories: Sequence[str]) -> NDArray[np.int64]:
        """`(n,)`: the place of each one's category in `categories`."""
        column = {category: place for place, category in enumerate(categories)}
        return np.array([column[category] for category in self.categories], dtype=np.int64)


def require_feedback(path: Path | None) -> None:
    """See at once whether a feedback file is there: a build needs it only when all images are embedded.

    Raises:
        SettingsError: it is not. To train without it instead would undo what was learned from it.
    """
    if path is not None and not path.is_file():
        raise SettingsError(f"--feedback {path} is no file: wanted the one that the service's PARECIDO_FEEDBACK names")


def read_feedback(
    path: Path | None, embedder_id: str, dim: int, embedded: EmbeddedCatalogue, reporter: Reporter
) -> LabelledQueries | None:
    """The queries to train from beside a catalogue; None where there are none.

    Args:
        path: the file; None for none.
        embedder_id: embeddings of another embedder mean nothing to this one.
        dim: the length of its embeddings.
        embedded: the catalogue; what is in there itself is left out, for its category is known, and its items may be
            held out from training.
        reporter: told in a line what is learned from and what is left out.

    Raises:
        SettingsError: the file can't be read.
    """
    if path is None:
        return None
    kept: dict[str, Feedback] = {}
    left_out: Counter[str] = Counter()
    judge = _Judge(embedder_id, dim, embedded)
    try:
        for line in _lines(path):
            _take(line, judge, kept, left_out)
    except OSError as error:
        raise SettingsError(f"--feedback {path} can't be read: {error.strerror}") from error
    reporter.say(_told(path, len(kept), left_out))
    return _labelled(kept) if kept else None


class _Judge:
    """Which records a catalogue's classifier can be trained from."""

    def __init__(self, embedder_id: str, dim: int, embedded: EmbeddedCatalogue) -> None:
        self._embedder_id = embedder_id
        self._dim = dim
        self._categories = set(embedded.categories)
        self._images = set(embedded.digests)

    def objection(self, record: Feedback) -> str | None:
        """Why a record is left out; None where it is not."""
        if record.embedding is None or self._is_in_catalogue(record.image_sha256):
            return "on what is in the catalogue itself"
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


def _take(line: bytes, judge: _Judge, kept: dict[str, Feedback], left_out: Counter[str]) -> None:
    """Keep what a line says in the place of what was said of the same image before."""
    try:
        record = Feedback.from_line(line)
    except ValueError:
        left_out[_DAMAGED] += 1
        return
    key = _key(record)
    if kept.pop(key, None) is not None:
        left_out[_SUPERSEDED] += 1
    objection = judge.objection(record)
    if objection is not None:
        left_out[objection] += 1
        return
    kept[key] = record
    if len(kept) > _MOST_QUERIES:
        del kept[next(iter(kept))]
        left_out[_TOO_MANY] += 1


def _key(record: Feedback) -> str:
    """The same for the same image, or for the same embedding where no image was sent."""
    if record.image_sha256 is not None:
        return record.image_sha256
    return hashlib.sha256(b"" if record.embedding is None else record.embedding.tobytes()).hexdigest()


def _told(path: Path, n_kept: int, left_out: Counter[str]) -> str:
    line = f"feedback of {path}: {n_kept:,} to train from"
    if not left_out:
        return line
    return f"{line}; left out: " + ", ".join(f"{count:,} {reason}" for reason, count in sorted(left_out.items()))


def _labelled(kept: dict[str, Feedback]) -> LabelledQueries:
    """In an order that does not depend on when each was told."""
    keys = sorted(kept)
    embeddings = [embedding for key in keys if (embedding := kept[key].embedding) is not None]
    categories = tuple(kept[key].category for key in keys)
    digest = hashlib.sha256(json.dumps([keys, categories]).encode()).hexdigest()
    return LabelledQueries(unit_rows(np.stack(embeddings)), categories, digest)
