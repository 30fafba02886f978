"""A shard: some thousand images of a catalogue that a worker of a cluster embeds, and the file with the result.

1. The driver cuts the images that the cache does not have into shards.
2. A worker reads the images of a shard and embeds them, as one machine would, and writes one file to shared storage,
   completely or not at all.
3. The driver moves the file's embeddings into the cache and deletes the file; files that a killed driver left behind
   are imported when the next build begins.
"""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from indexer.embedding.cache import EmbeddingCache
from indexer.embedding.embed_image import EmbeddedImage
from indexer.files.durable_write import flush
from indexer.files.location import FileStatus, is_url, location

SUFFIX = ".npz"
CACHED, BAD = -1, -2
"""In the place of a row of views: the cache has them, or there are none."""
DAMAGE = (zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError)
"""The exceptions that reading a damaged file raises."""


@dataclass(frozen=True)
class Shard:
    """A worker's task.

    Attributes:
        root: the directory or URL that image names are relative to, as `location` takes it.
        positions: the indices of the images in the catalogue.
        images: the images' names.
        cached: the SHA-256 of each image's last known content, if the cache has its embeddings; an image that still has
            this content is not embedded again.
    """

    root: str
    positions: tuple[int, ...]
    images: tuple[str, ...]
    cached: tuple[bytes | None, ...]

    @property
    def file(self) -> str:
        """The name of its file, the same in every worker."""
        content = json.dumps([self.root, self.positions, self.images])
        return hashlib.sha256(content.encode()).hexdigest()[:32] + SUFFIX


@dataclass(frozen=True)
class EmbeddedShard:
    """The result for a shard, in the order of its images.

    Attributes:
        root: as the shard's.
        images: as the shard's.
        statuses: `(n, 2)` int64, size and modification time when each image was read; -1 if it may still change
            within the same time.
        digests: `(n, 32)` uint8, the SHA-256 of each image's file.
        rows: `(n,)` int64, the row of each image's views, or `CACHED` or `BAD`.
        views: `(n_views, 1 + copies, dim)` float32.
        problems: the reasons why images are bad, by their index.
    """

    root: str
    images: tuple[str, ...]
    statuses: NDArray[np.int64]
    digests: NDArray[np.uint8]
    rows: NDArray[np.int64]
    views: NDArray[np.float32]
    problems: dict[int, str] = field(default_factory=dict)

    def outcomes(self) -> list[EmbeddedImage | str]:
        """Return each image, with its views in the cache, or its problem."""
        return [
            self.problems[index] if row == BAD else EmbeddedImage(self.digests[index].tobytes(), None, row != CACHED)
            for index, row in enumerate(self.rows.tolist())
        ]

    def put_into(self, cache: EmbeddingCache, is_new: bool) -> None:
        """Add the embeddings to the cache, and the files that they belong to."""
        root = location(self.root)
        for index, row in enumerate(self.rows.tolist()):
            if row == BAD:
                continue
            digest = self.digests[index].tobytes()
            if self.statuses[index, 1] >= 0:
                status = FileStatus(*self.statuses[index].tolist())
                cache.remember_file(str(root / self.images[index]), status, digest)
            if row != CACHED and not cache.has(digest):
                cache.put(digest, self.views[row], is_new)
        cache.commit()

    def write(self, path: Path) -> None:
        """Write the file completely, or leave nothing under its name, even if killed.

        Raises:
            OSError: it can't be written.
        """
        header = {"root": self.root, "images": self.images, "problems": list(self.problems.items())}
        arrays: dict[str, Any] = {
            "told": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8),
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
        """Read a file and check its checksums.

        Raises:
            OSError: it can't be read.
            zipfile.BadZipFile, zlib.error, ValueError, KeyError, EOFError: it is damaged (`DAMAGE`).
        """
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            header = json.loads(arrays["told"].tobytes())
            return cls(
                header["root"],
                tuple(header["images"]),
                statuses=arrays["statuses"],
                digests=arrays["digests"],
                rows=arrays["rows"],
                views=arrays["views"],
                problems=dict(header["problems"]),
            )


def cut(
    root: str, positions: Sequence[int], images: Sequence[str], cached: Sequence[bytes | None], size: int
) -> Iterator[Shard]:
    """Cut images into shards of at most `size`; the arguments are as in `Shard`."""
    for start in range(0, len(images), size):
        part = slice(start, start + size)
        yield Shard(root, tuple(positions[part]), tuple(images[part]), tuple(cached[part]))
