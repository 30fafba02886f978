"""A pool of Ray actors, each with one core and one interpreter, that embed shards.

An actor that dies with its node is replaced, and its shard goes to another; Ray starts the new one when and where there
is a core. Only actors that have answered get work, and nothing else of ours needs a core: so the loss of a node makes
the pool smaller, and never lets it wait for a core that is gone.
"""

import logging
import os
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np

from indexer.embedding.cluster.shard import DAMAGE, Shard, embed_shard
from indexer.embedding.embed_image import EmbeddingConfig
from indexer.files.location import absolute, exists, location
from indexer.priority import give_way
from shared import __version__
from shared.errors import ClusterError, SettingsError, SnapshotError
from shared.model.embedder import LiteRtEmbedder, check_golden, golden_picture
from shared.vectors import Vectors

_TRIES = 5
_PATIENCE_S = 30.0


class Taking(Protocol):
    """Whoever is told what workers have done."""

    def progress(self, shard: Shard, done: int) -> None:
        """So many of the shard's images are done."""
        ...

    def finished(self, shard: Shard) -> None:
        """The shard's file is written; raises what reading it raises."""
        ...


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise SettingsError(
            "--executor ray needs ray: install Parecido with the extra `ray`: pip install 'parecido[ray]'"
        ) from error
    return ray


@contextmanager
def connected(address: str | None, threads: int) -> Iterator[int]:
    """Connect to a cluster, or start one on this machine where none is named; its cores.

    Raises:
        SettingsError: ray is not installed.
        ClusterError: the cluster can't be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = _ray()
    address = address or os.environ.get("RAY_ADDRESS")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {"num_cpus": threads, "include_dashboard": False, "_node_ip_address": "127.0.0.1"}
    elif _is_loopback(address):
        options |= {"_node_ip_address": "127.0.0.1"}  # or the driver looks for its node at another address
    with redirect_stdout(sys.stderr):  # there Ray prints what befalls a node; the standard output is the result's
        try:
            ray.init(address or "local", **options)
        except Exception as error:
            raise ClusterError(f"the Ray cluster {address or 'of this machine'} can't be reached: {error}") from error
        try:
            yield max(1, int(ray.cluster_resources().get("CPU", 1)))
        finally:
            ray.shutdown()


def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address.partition(":")[0]).is_loopback
    except ValueError:
        return address.partition(":")[0] == "localhost"


class About(NamedTuple):
    """What an actor says of itself: its node's address, its version, and what it makes of the built-in picture."""

    node: str
    version: str
    golden: Vectors


class Worker:
    """What an actor runs."""

    def __init__(self, model: bytes, how: EmbeddingConfig, directory: str) -> None:
        """Load the model.

        Args:
            model: the exported base.
            how: with what; the embedder is made here.
            directory: for shards.
        """
        give_way()
        self._how = replace(how, embedder=LiteRtEmbedder(model, interpreters=1), threads=1)
        self._directory = location(directory)

    def about(self) -> About:
        """Who this is."""
        golden = self._how.embedder.embed(golden_picture())[0]
        return About(_ray().util.get_node_ip_address(), __version__, golden)

    def embed(self, shard: Shard) -> Iterator[int]:
        """Embed a shard and write its file, unless it is there; yields how many images are done."""
        path = self._directory / shard.file
        if exists(path):  # of an actor that was cut off after it had written
            yield len(shard.images)
            return
        yield from embed_shard(shard, self._how, path)


def embed_shards(
    model: bytes,
    how: EmbeddingConfig,
    shards: Sequence[Shard],
    directory: Path,
    workers: int,
    taking: Taking,
    say: Callable[[str], None],
) -> None:
    """Have shards embedded, in any order.

    Args:
        model: the exported base.
        how: with what, and what golden embedding the workers have to give; without a cache.
        shards: what to embed.
        directory: for their files.
        workers: how many actors at most.
        taking: is told of progress, here.
        say: takes a line for a person.

    Raises:
        ClusterError: a shard, or starting actors, failed again and again.
    """
    ray = _ray()
    golden = how.embedder.embed(golden_picture())[0]
    told = ray.put(model), ray.put(replace(how, embedder=NoModel())), absolute(directory)
    actor = ray.remote(num_cpus=1, max_restarts=0)(Worker)
    pool = _Pool(ray, lambda: actor.remote(*told), golden, taking, say)
    pool.run(shards, min(workers, len(shards)))


class NoModel:
    """In the place of an embedder on the way to a worker."""

    dim = 0
    embedder_id = ""

    def embed(self, pixels: Any, is_alone: bool = False) -> Vectors:
        """Never called."""
        raise NotImplementedError


@dataclass
class _Pool:
    """Actors that start, wait for work, or have some."""

    ray: Any
    start: Callable[[], Any]
    golden: Vectors
    taking: Taking
    say: Callable[[str], None]
    starting: dict[Any, Any] = field(default_factory=dict)
    idle: list[Any] = field(default_factory=list)
    busy: dict[Any, tuple[Any, Shard]] = field(default_factory=dict)
    waiting: deque[Shard] = field(default_factory=deque)
    failures: Counter[str] = field(default_factory=Counter)
    said: set[str] = field(default_factory=set)

    def run(self, shards: Sequence[Shard], workers: int) -> None:
        self.waiting.extend(shards)
        for _ in range(workers):
            self._start_one()
        while self.waiting or self.busy:
            while self.idle and self.waiting:
                worker, shard = self.idle.pop(), self.waiting.popleft()
                self.busy[worker.embed.options(num_returns="streaming").remote(shard)] = worker, shard
            ready, _ = self.ray.wait([*self.busy, *self.starting], num_returns=1, timeout=_PATIENCE_S)
            for one in ready:
                if one in self.starting:
                    self._has_started(one)
                else:
                    self._has_progressed(one)
            if not ready and not self.busy:
                self.say("no core of the cluster is free; waiting for one")

    def _start_one(self) -> None:
        worker = self.start()
        self.starting[worker.about.remote()] = worker

    def _has_started(self, ref: Any) -> None:
        worker = self.starting.pop(ref)
        try:
            about = self.ray.get(ref)
        except self.ray.exceptions.RayError as error:
            self._count_failure("a worker", "could not be started", error)
            self._start_one()
            return
        self._require_fit(about)
        self.failures.pop("a worker", None)
        self.idle.append(worker)

    def _require_fit(self, about: About) -> None:
        if about.version != __version__:
            found = f"the node {about.node} has Parecido {about.version}, this machine {__version__}"
            raise ClusterError(f"{found}: wanted the same everywhere")
        if np.array_equal(about.golden, self.golden):
            return
        try:
            check_golden(_Said(about.golden), self.golden)
        except SnapshotError as error:
            raise ClusterError(f"the node {about.node}: {error}") from error
        if about.node not in self.said:
            self.said.add(about.node)
            self.say(
                f"the node {about.node} rounds otherwise than this machine: its embeddings differ in the last bits"
            )

    def _has_progressed(self, stream: Any) -> None:
        worker, shard = self.busy[stream]
        try:
            self.taking.progress(shard, self.ray.get(next(stream)))
            return
        except StopIteration:
            del self.busy[stream]
            self._has_finished(worker, shard)
        except self.ray.exceptions.RayActorError as error:
            del self.busy[stream]
            self._again(shard, error)
            self._start_one()
        except self.ray.exceptions.RayError as error:
            del self.busy[stream]
            self._again(shard, error)
            self.idle.append(worker)

    def _has_finished(self, worker: Any, shard: Shard) -> None:
        self.idle.append(worker)
        try:
            self.taking.finished(shard)
        except (OSError, *DAMAGE) as error:
            self._again(shard, error)

    def _again(self, shard: Shard, error: Exception) -> None:
        self._count_failure(f"the shard that begins with {shard.images[0]}", "could not be embedded", error)
        self.waiting.append(shard)

    def _count_failure(self, what: str, how: str, error: Exception) -> None:
        self.failures[what] += 1
        reason = getattr(error, "cause", None) or str(error).partition("\n")[0] or type(error).__name__
        self.say(f"{what} {how}, time {self.failures[what]}: {reason}")
        if self.failures[what] >= _TRIES:
            raise ClusterError(f"{what} {how} {_TRIES} times; the last time: {reason}") from error


class _Said:
    """An embedder that has embedded one picture, elsewhere."""

    embedder_id = ""

    def __init__(self, embedding: Vectors) -> None:
        self._embedding = embedding
        self.dim = len(embedding)

    def embed(self, pixels: Any, is_alone: bool = False) -> Vectors:
        return self._embedding[np.newaxis]
