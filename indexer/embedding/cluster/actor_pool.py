"""A pool of Ray actors, each with one core and one interpreter, that embed shards.

An actor that dies with its node is replaced, and its shard goes to another; Ray starts the new one when and where a
core is free. Only actors that have answered get work, and nothing else of ours needs a core: so the loss of a node
shrinks the pool, and never makes it wait for a core that is gone.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from indexer.embedding.cluster.ray_client import import_ray
from indexer.embedding.cluster.shard import DAMAGE, Shard
from indexer.embedding.cluster.worker import Worker, WorkerInfo
from indexer.embedding.embed_image import EmbeddingConfig
from indexer.files.location import absolute
from shared import __version__
from shared.errors import ClusterError, SnapshotError
from shared.images.preprocessing import DEFAULT_SIDE_PX
from shared.model.embedder import NoEmbedder
from shared.model.golden import check_golden, golden_image
from shared.vectors import Vectors

_MAX_TRIES = 5
_WAIT_S = 30.0


class ShardListener(Protocol):
    """Receives the progress and the results of shards, in the driver."""

    def progress(self, shard: Shard, n_done: int) -> None:
        """Handle that `n_done` of the shard's images are done."""
        ...

    def finished(self, shard: Shard) -> None:
        """Handle that the shard's file is written; raises OSError or `DAMAGE` if it can't be read."""
        ...


def embed_shards(
    model: bytes,
    config: EmbeddingConfig,
    shards: Sequence[Shard],
    directory: Path,
    n_workers: int,
    listener: ShardListener,
    say: Callable[[str], None],
) -> None:
    """Have shards embedded by workers, in any order.

    Args:
        model: the exported backbone.
        config: embedder and settings, without a cache; the workers have to give the same golden embedding.
        shards: the shards.
        directory: where shard files are written.
        n_workers: the largest number of actors.
        listener: receives progress and results.
        say: receives messages for the user.

    Raises:
        ClusterError: a shard, or starting an actor, failed too often.
    """
    ray = import_ray()
    golden = config.embedder.embed(golden_image(config.embedder.side_px))[0]
    arguments = ray.put(model), ray.put(replace(config, embedder=NoEmbedder(0))), absolute(directory)
    actor = ray.remote(num_cpus=1, max_restarts=0)(Worker)
    pool = _Pool(ray, lambda: actor.remote(*arguments), golden, listener, say)
    pool.run(shards, min(n_workers, len(shards)))


@dataclass
class _Pool:
    """Actors that are starting, idle or busy."""

    ray: Any
    start: Callable[[], Any]
    golden: Vectors
    listener: ShardListener
    say: Callable[[str], None]
    starting: dict[Any, Any] = field(default_factory=dict)
    idle: list[Any] = field(default_factory=list)
    busy: dict[Any, tuple[Any, Shard]] = field(default_factory=dict)
    waiting: deque[Shard] = field(default_factory=deque)
    failures: Counter[str] = field(default_factory=Counter)
    rounding_nodes: set[str] = field(default_factory=set)

    def run(self, shards: Sequence[Shard], n_workers: int) -> None:
        self.waiting.extend(shards)
        for _ in range(n_workers):
            self._start_worker()
        while self.waiting or self.busy:
            while self.idle and self.waiting:
                worker, shard = self.idle.pop(), self.waiting.popleft()
                self.busy[worker.embed.options(num_returns="streaming").remote(shard)] = worker, shard
            ready, _ = self.ray.wait([*self.busy, *self.starting], num_returns=1, timeout=_WAIT_S)
            for ref in ready:
                if ref in self.starting:
                    self._has_started(ref)
                else:
                    self._has_progressed(ref)
            if not ready and not self.busy:
                self.say("no core of the cluster is free; waiting for one")

    def _start_worker(self) -> None:
        worker = self.start()
        self.starting[worker.info.remote()] = worker

    def _has_started(self, ref: Any) -> None:
        worker = self.starting.pop(ref)
        try:
            info = self.ray.get(ref)
        except self.ray.exceptions.RayError as error:
            self._count_failure("a worker", "could not be started", error)
            self._start_worker()
            return
        self._check_worker(info)
        self.failures.pop("a worker", None)
        self.idle.append(worker)

    def _check_worker(self, info: WorkerInfo) -> None:
        if info.version != __version__:
            raise ClusterError(
                f"the node {info.node} has Parecido {info.version}, this machine {__version__}: install the same"
            )
        if np.array_equal(info.golden, self.golden):
            return
        try:
            check_golden(_FixedEmbedder(info.golden), self.golden)
        except SnapshotError as error:
            raise ClusterError(f"the node {info.node}: {error}") from error
        if info.node not in self.rounding_nodes:
            self.rounding_nodes.add(info.node)
            self.say(
                f"embeddings of the node {info.node} differ from this machine's in the last bits: it rounds differently"
            )

    def _has_progressed(self, stream: Any) -> None:
        worker, shard = self.busy[stream]
        try:
            self.listener.progress(shard, self.ray.get(next(stream)))
            return
        except StopIteration:
            del self.busy[stream]
            self._has_finished(worker, shard)
        except self.ray.exceptions.RayActorError as error:
            del self.busy[stream]
            self._retry(shard, error)
            self._start_worker()
        except self.ray.exceptions.RayError as error:
            del self.busy[stream]
            self._retry(shard, error)
            self.idle.append(worker)

    def _has_finished(self, worker: Any, shard: Shard) -> None:
        self.idle.append(worker)
        try:
            self.listener.finished(shard)
        except (OSError, *DAMAGE) as error:
            self._retry(shard, error)

    def _retry(self, shard: Shard, error: Exception) -> None:
        self._count_failure(f"the shard that begins with {shard.images[0]}", "could not be embedded", error)
        self.waiting.append(shard)

    def _count_failure(self, subject: str, failure: str, error: Exception) -> None:
        self.failures[subject] += 1
        reason = getattr(error, "cause", None) or str(error).partition("\n")[0] or type(error).__name__
        self.say(f"{subject} {failure}, time {self.failures[subject]}: {reason}")
        if self.failures[subject] >= _MAX_TRIES:
            raise ClusterError(f"{subject} {failure} {_MAX_TRIES} times; the last time: {reason}") from error


class _FixedEmbedder:
    """Returns the golden embedding that a worker made."""

    embedder_id = ""
    side_px = DEFAULT_SIDE_PX  # of a picture that it does not look at

    def __init__(self, embedding: Vectors) -> None:
        self._embedding = embedding
        self.dim = len(embedding)

    def embed(self, pixels: Any, is_alone: bool = False) -> Vectors:
        return self._embedding[np.newaxis]
