"""Embed on a Ray cluster, shard by shard; ray itself is imported in `ray_pool` alone, and only where it is asked for.

1. Take over what a killed build left finished in the directory of shards.
2. Ask the cache which images it has; cut the others into shards.
3. Let the workers embed them; take each finished shard over into the cache and delete its file.

So later stages read the cache, as on one machine (docs/decisions/0024-ray.md).
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

_SHARDS_A_WORKER = 4
_SMALLEST = 64
_CHUNK = 1024
_Outcome = EmbeddedImage | str | None


@dataclass(frozen=True)
class RayExecutor:
    """An executor for `embed_catalogue`.

    Attributes:
        model: the exported base.
        address: of the cluster; None for what RAY_ADDRESS names, else for a cluster of this machine's own.
        directory: for shards, where the driver and all workers reach it; this build's own.
        shard_images: the most images of a shard.
        workers: how many, each with a core of its own; 0 for as many as the cluster has cores.
        say: takes a line for a person.
    """

    model: bytes
    address: str | None
    directory: Path
    shard_images: int
    workers: int
    say: Callable[[str], None]

    def __call__(self, catalogue: Catalogue, how: EmbeddingConfig, stage: Stage) -> EmbeddingOutcome:
        """Embed all images of a catalogue.

        Args:
            catalogue: whose images; workers have to reach its image root under the same name.
            how: with what; the cache takes the embeddings.
            stage: is told of each image done.

        Raises:
            SettingsError: ray is not installed.
            ClusterError: the cluster can't be reached, or a shard failed again and again.
        """
        from indexer.embedding.cluster.actor_pool import connected, embed_shards

        if how.cache is None:
            raise ValueError("a cluster's embeddings go to the cache: wanted one")
        directory = self.directory / hashlib.sha256(how.recipe.encode()).hexdigest()[:16]
        tasks = list(image_tasks(catalogue))
        with connected(self.address, how.threads) as cores:
            import_finished_shards(directory, how.cache, self.say)
            outcomes = _known_ones(catalogue, tasks, how, stage)
            workers = self.workers or cores
            taking = _Taking(directory, how.cache, stage, outcomes)
            shards = self._cut(catalogue, tasks, outcomes, how, workers)
            if shards:
                told = replace(how, cache=None)
                embed_shards(self.model, told, shards, directory, workers, taking, self.say)
        found = ((task, outcome) for task, outcome in zip(tasks, outcomes, strict=True) if outcome is not None)
        return split_outcomes(catalogue, found)

    def _cut(
        self,
        catalogue: Catalogue,
        tasks: Sequence[ImageTask],
        outcomes: Sequence[_Outcome],
        how: EmbeddingConfig,
        workers: int,
    ) -> list[Shard]:
        """Shards of what is not known, so small that all workers have some."""
        places = [place for place, outcome in enumerate(outcomes) if outcome is None]
        fair = math.ceil(len(places) / (_SHARDS_A_WORKER * workers))
        size = min(self.shard_images, max(_SMALLEST, fair))
        images = [tasks[place].image for place in places]
        digests = [_digest_known(catalogue.image_root / image, how.cache) for image in images]
        return list(cut(absolute(catalogue.image_root), places, images, digests, size))


class _Taking:
    """Takes over what workers have done."""

    def __init__(self, directory: Path, cache: EmbeddingCache, stage: Stage, outcomes: list[_Outcome]) -> None:
        self._directory, self._cache, self._stage, self._outcomes = directory, cache, stage, outcomes
        self._shown: dict[str, int] = {}

    def progress(self, shard: Shard, done: int) -> None:
        """Tell the stage; a shard that is begun anew shows nothing until it is beyond where it was."""
        before = self._shown.get(shard.file, 0)
        for _ in range(before, done):
            self._stage.advance()
        self._shown[shard.file] = max(before, done)

    def finished(self, shard: Shard) -> None:
        """Take a shard's file over.

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
        for place, outcome in zip(shard.places, embedded.outcomes(), strict=True):
            self._outcomes[place] = outcome
        path.unlink()


def import_finished_shards(directory: Path, cache: EmbeddingCache, say: Callable[[str], None]) -> int:
    """Put what a killed build left finished into the cache, and delete its files.

    Returns:
        How many shards these were.
    """
    if not exists(directory):
        return 0
    finished = 0
    for path in sorted(directory.iterdir(), key=str):
        if path.suffix != SUFFIX:
            path.unlink()  # of a worker that was killed while it wrote
            continue
        try:
            EmbeddedShard.read(path).put_into(cache, is_new=False)
            finished += 1
        except DAMAGE as error:
            say(f"the shard {path} is damaged ({error}): it is embedded again")
        path.unlink()
    if finished:
        say(f"{finished} shards that an earlier build left finished were taken over")
    return finished


def _known_ones(catalogue: Catalogue, tasks: Sequence[ImageTask], how: EmbeddingConfig, stage: Stage) -> list[_Outcome]:
    """What the cache has already; None for the others."""

    def look(task: ImageTask) -> _Outcome:
        outcome = attempt(lambda path, _: cached_image(path, how), catalogue.image_root / task.image, task.image)
        return None if isinstance(outcome, str) else outcome  # what is wrong with it, a worker will say

    outcomes: list[_Outcome] = []
    with ThreadPoolExecutor(how.threads) as pool:
        for start in range(0, len(tasks), _CHUNK):
            for outcome in pool.map(look, tasks[start : start + _CHUNK]):
                outcomes.append(outcome)
                if outcome is not None:
                    stage.advance()
    return outcomes


def _digest_known(path: Path, cache: EmbeddingCache | None) -> bytes | None:
    """What a file held when it was last read, if the cache has the embeddings of that."""
    digest = None if cache is None else cache.last_digest(str(path))
    return digest if digest is not None and cache is not None and cache.has(digest) else None
