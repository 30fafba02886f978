"""Embedding of a shard, by a worker."""

import hashlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from indexer.embedding.cache import UNSETTLED_NS
from indexer.embedding.cluster.shard import BAD, CACHED, EmbeddedShard, Shard
from indexer.embedding.embed_image import EmbeddingConfig, embed_bytes
from indexer.embedding.image_tasks import attempt
from indexer.files.location import FileStatus, is_url, location, read_limited, status_of
from shared.vectors import Vectors

PROGRESS_IMAGES = 64
_FETCH_THREADS = 16


def embed_shard(shard: Shard, config: EmbeddingConfig, path: Path) -> Iterator[int]:
    """Embed a shard and write its file.

    Args:
        shard: the shard.
        config: embedder and settings, without a cache.
        path: the file.

    Yields:
        The number of images done so far, every `PROGRESS_IMAGES`.
    """
    builder = _ShardBuilder(shard, config)
    root = location(shard.root)
    threads = _FETCH_THREADS if is_url(root) else 1  # while some wait for a store, another has the core
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(shard.images), PROGRESS_IMAGES):
            rows = range(start, min(start + PROGRESS_IMAGES, len(shard.images)))
            outcomes = pool.map(lambda row: _embed_row(root, shard, config, row), rows)
            for row, outcome in zip(rows, outcomes, strict=True):
                builder.add(row, outcome)
            yield rows.stop
    builder.build().write(path)


@dataclass(frozen=True)
class _ReadImage:
    """An image that a worker has read; without views if the cache has them."""

    status: FileStatus
    digest: bytes
    views: Vectors | None


def _embed_row(root: Path, shard: Shard, config: EmbeddingConfig, row: int) -> _ReadImage | str:
    def embed(path: Path, name: str) -> _ReadImage:
        status = status_of(path)
        began_ns = time.time_ns()
        data = read_limited(path, config.limits)
        digest = hashlib.sha256(data).digest()
        views = None if digest == shard.cached[row] else embed_bytes(data, digest, name, config)
        is_settled = began_ns - status.st_mtime_ns > UNSETTLED_NS
        return _ReadImage(status if is_settled else FileStatus(-1, -1), digest, views)

    name = shard.images[row]
    return attempt(embed, root / name, name)


class _ShardBuilder:
    """Fills the arrays of an embedded shard, image by image."""

    def __init__(self, shard: Shard, config: EmbeddingConfig) -> None:
        n = len(shard.images)
        self._shard = shard
        self._statuses = np.full((n, 2), -1, dtype=np.int64)
        self._digests = np.zeros((n, 32), dtype=np.uint8)
        self._rows = np.full(n, BAD, dtype=np.int64)
        # The system allocates its pages as they are written.
        self._views = np.empty((n, 1 + config.augmentation.copies, config.embedder.dim), dtype=np.float32)
        self._n_views = 0
        self._problems: dict[int, str] = {}

    def add(self, row: int, outcome: _ReadImage | str) -> None:
        if isinstance(outcome, str):
            self._problems[row] = outcome
            return
        self._statuses[row] = outcome.status
        self._digests[row] = np.frombuffer(outcome.digest, dtype=np.uint8)
        self._rows[row] = CACHED
        if outcome.views is not None:
            self._rows[row] = self._n_views
            self._views[self._n_views] = outcome.views
            self._n_views += 1

    def build(self) -> EmbeddedShard:
        shard, views = self._shard, self._views[: self._n_views]
        return EmbeddedShard(shard.root, shard.images, self._statuses, self._digests, self._rows, views, self._problems)
