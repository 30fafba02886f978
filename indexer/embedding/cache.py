"""The embedding cache, `DATA/cache/embeddings.sqlite`, keyed by content, so that only changed images are embedded.

The key of an entry is the SHA-256 of an image file and the *recipe* of its views (embedder, preprocessing,
augmentation). A second table maps each file's path, size and modification time to that digest, so that an unchanged
file isn't read again.

Each row has a checksum, which also covers its key; a damaged row counts as missing, and its image is embedded again.
The narrow rows that every build reads and writes for every image are kept apart from the embeddings, so that a build
without changes touches none of these.
"""

import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from indexer.embedding.cache_database import CacheDatabase
from indexer.files.location import FileStatus
from shared.vectors import Vectors

_USED_AT_RESOLUTION_S = 86_400
# A file that changed this shortly before it was read may change again within the resolution of its modification time.
UNSETTLED_NS = 2_000_000_000


class EmbeddingCache:
    """The cached views of one recipe; safe to call from any thread, in one process at a time.

    Attributes:
        recipe: names everything that embeddings depend on besides an image's bytes.
        n_put: the number of images whose embeddings were added since the cache was opened.
    """

    def __init__(
        self, path: Path, recipe: str, n_views: int, say: Callable[[str], None], read_only: bool = False
    ) -> None:
        """Open the cache, or create it.

        Args:
            path: the database.
            recipe: names everything that embeddings depend on besides an image's bytes.
            n_views: views per image.
            say: receives a message if entries or the database were damaged.
            read_only: change nothing; the cache must exist.

        Raises:
            StorageError: it can't be opened, or is damaged and `read_only`.
        """
        self._path = path
        self._n_views = n_views
        self._say = say
        self._n_damaged = 0
        self.n_put = 0
        self.recipe = recipe
        self._database = CacheDatabase(path, recipe, say, read_only)

    def known_digest(self, path: str, status: FileStatus) -> bytes | None:
        """Return the SHA-256 of a file, unless it may have changed since it was last read."""
        row = self._file(path)
        return row[1] if row is not None and row[0] == (status.st_size, status.st_mtime_ns) else None

    def last_digest(self, path: str) -> bytes | None:
        """Return the SHA-256 that a file had when it was last read; None if it never was."""
        row = self._file(path)
        return None if row is None else row[1]

    def remember_file(self, path: str, status: FileStatus, digest: bytes) -> None:
        """Record the SHA-256 of a file, with its status from before it was read."""
        if time.time_ns() - status.st_mtime_ns > UNSETTLED_NS:
            values = (path, status.st_size, status.st_mtime_ns, digest, _file_checksum(path, status, digest))
            self._database.write(("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", values))

    def has(self, digest: bytes) -> bool:
        """Return True if there is an entry for an image; damage of its embeddings only shows when they are read."""
        return self._number(digest) is not None

    def views(self, digest: bytes) -> Vectors | None:
        """Return the views of an image, `(n_views, dim)` float32; None if there are none, or they are damaged."""
        number = self._number(digest)
        if number is None:
            return None
        row = self._database.fetch("SELECT checksum, views FROM views WHERE number = ?", (number,))
        if row is None or not self._is_intact(digest, *row):
            self._database.write(
                ("DELETE FROM entries WHERE number = ?", (number,)), ("DELETE FROM views WHERE number = ?", (number,))
            )
            self._n_damaged += 1
            return None
        return np.frombuffer(row[1], dtype=np.float32).reshape(self._n_views, -1)

    def put(self, digest: bytes, views: Vectors, is_new: bool = True) -> None:
        """Add the views of an image.

        Args:
            digest: the SHA-256 of its file.
            views: `(n_views, dim)` float32.
            is_new: count them in `n_put`.
        """
        data = np.ascontiguousarray(views, dtype=np.float32).tobytes()
        key = (self._database.recipe_number, digest)
        self.n_put += is_new
        self._database.write(
            (
                "INSERT INTO entries (recipe, digest, used_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (*key, int(time.time())),
            ),
            (
                "INSERT OR REPLACE INTO views SELECT number, ?, ? FROM entries WHERE recipe = ? AND digest = ?",
                (self._checksum(digest, data), data, *key),
            ),
        )

    def mark_used(self, digests: Iterable[bytes]) -> None:
        """Record, to the day, that images are still in the catalogue, for `prune_cache`."""
        update = "UPDATE entries SET used_at = ? WHERE recipe = ? AND digest = ? AND used_at < ?"
        now = int(time.time())
        recipe = self._database.recipe_number
        self._database.write_many(update, ((now, recipe, digest, now - _USED_AT_RESOLUTION_S) for digest in digests))

    def commit(self) -> None:
        """Make everything put so far survive a kill."""
        self._database.commit()

    def close(self) -> None:
        """Commit and close; report the number of damaged entries, if any."""
        self._database.close()
        if self._n_damaged:
            self._say(f"{self._n_damaged} damaged entries of {self._path} were embedded again")

    def _file(self, path: str) -> tuple[FileStatus, bytes] | None:
        """Status and digest of a file when it was last read; None if unknown or damaged."""
        row = self._database.fetch("SELECT size, mtime_ns, digest, checksum FROM files WHERE path = ?", (path,))
        if row is None or not isinstance(row[2], bytes):
            return None
        status = FileStatus(row[0], row[1])
        return (status, row[2]) if _file_checksum(path, status, row[2]) == row[3] else None

    def _number(self, digest: bytes) -> int | None:
        select = "SELECT number FROM entries WHERE recipe = ? AND digest = ?"
        row = self._database.fetch(select, (self._database.recipe_number, digest))
        return row[0] if row is not None and isinstance(row[0], int) else None

    def _checksum(self, digest: bytes, data: bytes) -> int:
        return zlib.crc32(data, zlib.crc32(digest, zlib.crc32(self.recipe.encode())))

    def _is_intact(self, digest: bytes, checksum: object, data: object) -> bool:
        if not isinstance(data, bytes) or len(data) % (4 * self._n_views):
            return False
        return self._checksum(digest, data) == checksum


def _file_checksum(path: str, status: FileStatus, digest: bytes) -> int:
    return zlib.crc32(f"{path} {status.st_size} {status.st_mtime_ns}".encode() + digest)
