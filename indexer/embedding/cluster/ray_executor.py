"""Embedding on a Ray cluster, shard by shard (docs/decisions/0024-ray.md).

1. Import the finished shards that a killed build left in the directory of shards.
2. Look up in the cache which images it has; cut the others into shards.
3. Let the workers embed them; import each finished shard into the cache and delete its file.

Later stages then read the cache, as on one machine. ray itself is imported only when this executor runs.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from indexer.catalogue.model import Catalogue
from indexer.console.progress import Stage
from indexer.embedding.cache import EmbeddingCache
from indexer.embedding.cluster.shard import DAMAGE, SUFFIX, EmbeddedShard, Shard, cut
from indexer.embedding.embed_catalogue import EmbeddingOutcome
from indexer.embedding.embed_image import EmbeddedImage, EmbeddingConfig, cached_image
from indexer.embedding.image_tasks import ImageTask, attempt, image_tasks, split_outcomes
from indexer.files.location import absolute, exists

_SHARDS_PER_WORKER = 4
_MIN_SHARD_IMAGES = 64
_CHUNK = 1024
_Outcome = EmbeddedImage | str | None


@dataclass(frozen=True)
class RayExecutor:
    """An executor for `embed_catalogue`.

    Attributes:
        model: the exported backbone.
        address: of the cluster; None for RAY_ADDRESS, else for a cluster that is started on this machine.
        directory: for shard files, reachable by the driver and all workers; used by this build alone.
        shard_images: the largest number of images in a shard.
        workers: their number, one core each; 0 for the number of cores of the cluster.
        say: receives messages for the user.
    """

    model: bytes
    address: str | None
    directory: Path
    shard_images: int
    workers: int
    say: Callable[[str], None]

    def __call__(self, catalogue: Catalogue, config: EmbeddingConfig, stage: Stage) -> EmbeddingOutcome:
        """Embed all images of a catalogue.

        Args:
            catalogue: the catalogue; workers must reach its image root under the same name.
            config: embedder and settings, with the cache that receives the embeddings.
            stage: advanced once per image.

        Raises:
            SettingsError: ray is not installed.
            ClusterError: the cluster can't be reached, or a shard failed too often.
        """
        from indexer.embedding.cluster.actor_pool import embed_shards
        from indexer.embedding.cluster.ray_client import connected

        if config.cache is None:
            raise ValueError("embedding on a cluster needs a cache")
        directory = self.directory / hashlib.sha256(config.recipe.encode()).hexdigest()[:16]
        tasks = list(image_tasks(catalogue))
        with connected(self.address, config.threads) as cores:
            import_finished_shards(directory, config.cache, self.say)
            outcomes = _cached_outcomes(catalogue, tasks, config, stage)
            n_workers = self.workers or cores
            importer = _ShardImporter(directory, config.cache, stage, outcomes)
            shards = self._cut(catalogue, tasks, outcomes, config, n_workers)
            if shards:
                without_cache = replace(config, cache=None)
                embed_shards(self.model, without_cache, shards, directory, n_workers, importer, self.say)
        done = ((task, outcome) for task, outcome in zip(tasks, outcomes, strict=True) if outcome is not None)
        return split_outcomes(catalogue, done)

    def _cut(
        self,
        catalogue: Catalogue,
        tasks: Sequence[ImageTask],
        outcomes: Sequence[_Outcome],
        config: EmbeddingConfig,
        n_workers: int,
    ) -> list[Shard]:
        """Cut the images without an outcome into shards, small enough that every worker gets some."""
        positions = [position for position, outcome in enumerate(outcomes) if outcome is None]
        fair = math.ceil(len(positions) / (_SHARDS_PER_WORKER * n_workers))
        size = min(self.shard_images, max(_MIN_SHARD_IMAGES, fair))
        images = [tasks[position].image for position in positions]
        digests = [_cached_digest(catalogue.image_root / image, config.cache) for image in images]
        return list(cut(absolute(catalogue.image_root), positions, images, digests, size))


class _ShardImporter:
    """Imports finished shards into the cache, and records their outcomes."""

    def __init__(self, directory: Path, cache: EmbeddingCache, stage: Stage, outcomes: list[_Outcome]) -> None:
        self._directory, self._cache, self._stage, self._outcomes = directory, cache, stage, outcomes
        self._n_reported: dict[str, int] = {}

    def progress(self, shard: Shard, n_done: int) -> None:
        """Advance the stage; a shard that is retried advances it only beyond its earlier progress."""
        before = self._n_reported.get(shard.file, 0)
        for _ in range(before, n_done):
            self._stage.advance()
        self._n_reported[shard.file] = max(before, n_done)

    def finished(self, shard: Shard) -> None:
        """Import a shard's file and delete it.

        Raises:
            OSError: it can't be read.
            DAMAGE: it is damaged.
        """
        path = self._directory / shard.file
        try:
            embedded = EmbeddedShard.read(path)
        except DAMAGE:
            path.unlink()
            raise
        embedded.put_into(self._cache, is_new=True)
        for position, outcome in zip(shard.positions, embedded.outcomes(), strict=True):
            self._outcomes[position] = outcome
        path.unlink()


def import_finished_shards(directory: Path, cache: EmbeddingCache, say: Callable[[str], None]) -> int:
    """Import the finished shards of a killed build into the cache, and delete all its files.

    Returns:
        The number of shards imported.
    """
    if not exists(directory):
        return 0
    n_finished = 0
    for path in sorted(directory.iterdir(), key=str):
        if path.suffix != SUFFIX:
            path.unlink()  # its worker was killed while writing
            continue
        try:
            EmbeddedShard.read(path).put_into(cache, is_new=False)
            n_finished += 1
        except DAMAGE as error:
            say(f"the shard {path} is damaged ({error}): it is embedded again")
        path.unlink()
    if n_finished:
        shards = "1 finished shard" if n_finished == 1 else f"{n_finished} finished shards"
        say(f"{shards} of an earlier build reused")
    return n_finished


def _cached_outcomes(
    catalogue: Catalogue, tasks: Sequence[ImageTask], config: EmbeddingConfig, stage: Stage
) -> list[_Outcome]:
    """Look up every image in the cache; None for images that it does not have."""

    def look_up(task: ImageTask) -> _Outcome:
        outcome = attempt(lambda path, _: cached_image(path, config), catalogue.image_root / task.image, task.image)
        return None if isinstance(outcome, str) else outcome  # a worker will report the problem

    outcomes: list[_Outcome] = []
    with ThreadPoolExecutor(config.threads) as pool:
        for start in range(0, len(tasks), _CHUNK):
            for outcome in pool.map(look_up, tasks[start : start + _CHUNK]):
                outcomes.append(outcome)
                if outcome is not None:
                    stage.advance()
    return outcomes


def _cached_digest(path: Path, cache: EmbeddingCache | None) -> bytes | None:
    """The last known SHA-256 of a file, if the cache has the embeddings of that content."""
    digest = None if cache is None else cache.last_digest(str(path))
    return digest if digest is not None and cache is not None and cache.has(digest) else None
