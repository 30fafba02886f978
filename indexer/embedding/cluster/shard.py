"""A shard: some thousand images of a catalogue that a worker of a cluster embeds, and the file that it leaves.

1. The driver cuts what the cache does not have into shards.
2. A worker reads the images of one and embeds them, as one machine would, and writes a file to shared storage: whole,
   or not at all.
3. The driver takes the file's embeddings over into the cache and deletes it; what a killed driver left behind is
   taken over when the next build begins.
"""

import hashlib
import json
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from indexer.embedding.cache import UNSETTLED_NS, EmbeddingCache
from indexer.embedding.embed_image import EmbeddedImage, EmbeddingConfig, embed_bytes
from indexer.embedding.image_tasks import attempt
from indexer.files.durable_write import flush
from indexer.files.location import FileStatus, is_url, location, read_limited, status_of
from shared.vectors import Vectors

SUFFIX = ".npz"
PROGRESS_IMAGES = 64
_FETCHES = 16
_KNOWN, _BAD = -1, -2
DAMAGE = (zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError)
"""What reading a damaged file raises."""


@dataclass(frozen=True)
class Shard:
    """What a worker is told.

    Attributes:
        root: what the image names are relative to, as `location` takes it.
        places: of the images in the catalogue.
        images: their names.
        known: for each image, the SHA-256 of a file that the cache has embeddings of: that file is not embedded again.
    """

    root: str
    places: tuple[int, ...]
    images: tuple[str, ...]
    known: tuple[bytes | None, ...]

    @property
    def file(self) -> str:
        """The name of its file: the same, whoever embeds it."""
        told = json.dumps([self.root, self.places, self.images])
        return hashlib.sha256(told.encode()).hexdigest()[:32] + SUFFIX


@dataclass(frozen=True)
class _Read:
    """One image that a worker has read; no views where the cache has them."""

    status: FileStatus
    digest: bytes
    views: Vectors | None


@dataclass(frozen=True)
class EmbeddedShard:
    """What a worker made of a shard, image by image as the shard has them.

    Attributes:
        root: as the shard's.
        images: as the shard's.
        statuses: `(n, 2)` int64, size and time of change when each image was read; -1 where these prove nothing.
        digests: `(n, 32)` uint8, the SHA-256 of each image's file.
        rows: `(n,)` int64, the place of each one's views; -1 where the cache has them, -2 of a bad image.
        views: `(n_views, 1 + copies, dim)` float32.
        problems: by the places of the bad images, why they are.
    """

    root: str
    images: tuple[str, ...]
    statuses: NDArray[np.int64]
    digests: NDArray[np.uint8]
    rows: NDArray[np.int64]
    views: NDArray[np.float32]
    problems: dict[int, str] = field(default_factory=dict)

    def outcomes(self) -> list[EmbeddedImage | str]:
        """What became of each image; the views are the cache's."""
        return [
            self.problems[place] if row == _BAD else EmbeddedImage(self.digests[place].tobytes(), None, row != _KNOWN)
            for place, row in enumerate(self.rows.tolist())
        ]

    def put_into(self, cache: EmbeddingCache, is_new: bool) -> None:
        """Keep the embeddings, and which files they are of."""
        root = location(self.root)
        for place, row in enumerate(self.rows.tolist()):
            if row == _BAD:
                continue
            digest = self.digests[place].tobytes()
            if self.statuses[place, 1] >= 0:
                status = FileStatus(*self.statuses[place].tolist())
                cache.remember_file(str(root / self.images[place]), status, digest)
            if row != _KNOWN and not cache.has(digest):
                cache.put(digest, self.views[row], is_new)
        cache.commit()

    def write(self, path: Path) -> None:
        """Write the file, or leave nothing under its name; a kill does either.

        Raises:
            OSError: it can't be written.
        """
        told = {"root": self.root, "images": self.images, "problems": list(self.problems.items())}
        arrays: dict[str, Any] = {
            "told": np.frombuffer(json.dumps(told).encode(), dtype=np.uint8),
            "statuses": self.statuses,
            "digests": self.digests,
            "rows": self.rows,
            "views": self.views,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.{uuid4().hex}.part")
        with beside.open("wb") as file:
            np.savez(file, **arrays)
        if is_url(path):
            beside.rename(path)
        else:
            flush(beside)
            beside.replace(path)
            flush(path.parent)

    @classmethod
    def read(cls, path: Path) -> "EmbeddedShard":
        """Read a file; its checksums are looked at.

        Raises:
            OSError: it can't be read.
            zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError: it is damaged (`DAMAGE`).
        """
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            told = json.loads(arrays["told"].tobytes())
            return cls(
                told["root"],
                tuple(told["images"]),
                statuses=arrays["statuses"],
                digests=arrays["digests"],
                rows=arrays["rows"],
                views=arrays["views"],
                problems=dict(told["problems"]),
            )


def cut(
    root: str, places: Sequence[int], images: Sequence[str], known: Sequence[bytes | None], size: int
) -> Iterator[Shard]:
    """Cut images into shards of at most `size`; what there is of each image is as in `Shard`."""
    for start in range(0, len(images), size):
        part = slice(start, start + size)
        yield Shard(root, tuple(places[part]), tuple(images[part]), tuple(known[part]))


def embed_shard(shard: Shard, how: EmbeddingConfig, path: Path) -> Iterator[int]:
    """Embed a shard and write its file.

    Args:
        shard: what to embed.
        how: with what; without a cache.
        path: of the file.

    Yields:
        How many images are done, now and then.
    """
    made = _Making(shard, how)
    root = location(shard.root)
    threads = _FETCHES if is_url(root) else 1  # while some wait for a store, another has the core
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(shard.images), PROGRESS_IMAGES):
            places = range(start, min(start + PROGRESS_IMAGES, len(shard.images)))
            found = pool.map(lambda place: _read_one(root, shard, how, place), places)
            for place, one in zip(places, found, strict=True):
                made.add(place, one)
            yield places.stop
    made.done().write(path)


def _read_one(root: Path, shard: Shard, how: EmbeddingConfig, place: int) -> _Read | str:
    def work(path: Path, name: str) -> _Read:
        status = status_of(path)
        began_ns = time.time_ns()
        data = read_limited(path, how.limits)
        digest = hashlib.sha256(data).digest()
        views = None if digest == shard.known[place] else embed_bytes(data, digest, name, how)
        is_settled = began_ns - status.st_mtime_ns > UNSETTLED_NS
        return _Read(status if is_settled else FileStatus(-1, -1), digest, views)

    name = shard.images[place]
    return attempt(work, root / name, name)


class _Making:
    """A shard under way: its arrays, filled image by image."""

    def __init__(self, shard: Shard, how: EmbeddingConfig) -> None:
        n = len(shard.images)
        self._shard = shard
        self._statuses = np.full((n, 2), -1, dtype=np.int64)
        self._digests = np.zeros((n, 32), dtype=np.uint8)
        self._rows = np.full(n, _BAD, dtype=np.int64)
        # Grown by the system page by page, as it is written to.
        self._views = np.empty((n, 1 + how.augmentation.copies, how.embedder.dim), dtype=np.float32)
        self._used = 0
        self._problems: dict[int, str] = {}

    def add(self, place: int, found: _Read | str) -> None:
        if isinstance(found, str):
            self._problems[place] = found
            return
        self._statuses[place] = found.status
        self._digests[place] = np.frombuffer(found.digest, dtype=np.uint8)
        self._rows[place] = _KNOWN
        if found.views is not None:
            self._rows[place] = self._used
            self._views[self._used] = found.views
            self._used += 1

    def done(self) -> EmbeddedShard:
        shard, views = self._shard, self._views[: self._used]
        return EmbeddedShard(shard.root, shard.images, self._statuses, self._digests, self._rows, views, self._problems)
