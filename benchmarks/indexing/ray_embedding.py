"""Embedding on a Ray cluster of two nodes on this machine, compared with the local executor; needs the extra `ray`.

1. The same photos in alternating blocks, by the local executor with one thread per core and by the cluster with one
   worker per core, both as a build calls them, into an empty cache. The cluster's clock starts when the first
   worker has reported its first images; these, and as many of every other worker, do not count.
2. Photos with augmented copies, so that there are `--views`; one raylet is killed in the middle. Everything must be
   complete, nothing embedded twice, and the bits equal to the local executor's.
3. CPU time of the driver for copying a shard into the cache, and the size of the cache.
"""

import hashlib
import math
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.fresh_process import export_lite0, run_in_fresh_process
from benchmarks.harness.options import option_parser
from benchmarks.harness.photos import list_photos, sample, write_catalogue
from benchmarks.harness.rows import print_records, store
from benchmarks.indexing.embedding_throughput import CORES
from indexer.catalogue.model import Catalogue
from indexer.embedding.augmentation import Augmentation
from indexer.embedding.cache import EmbeddingCache
from indexer.embedding.cluster.embed_shard import PROGRESS_IMAGES
from indexer.embedding.cluster.ray_executor import RayExecutor
from indexer.embedding.cluster.shard import EmbeddedShard
from indexer.embedding.embed_catalogue import EmbeddedCatalogue, Executor, embed_catalogue, embed_locally
from indexer.embedding.embed_image import EmbeddingConfig
from shared.images.limits import ImageLimits
from shared.model.embedder import LiteRtEmbedder
from shared.priority import lower_process_priority
from tests.support.processes.ray_cluster import RayCluster, environment, ray_cluster

_SHARD_IMAGES = 4000


@dataclass
class Watched:
    """A stage that counts images, records the time of the first, and calls a function at a given one."""

    at: int = 0
    call: Callable[[], None] | None = None
    done: int = 0
    first: float = 0.0

    def advance(self) -> None:
        """Count one image."""
        self.done += 1
        self.first = self.first or time.perf_counter()
        if self.done == self.at and self.call is not None:
            threading.Thread(target=self.call).start()


def main() -> None:
    """Measure, print and store."""
    parser = option_parser("indexing.ray_embedding", __doc__)
    parser.add_argument("--views", type=int, default=20_000, help="views embedded while a node is killed")
    parser.add_argument("--block", type=int, default=1500, help="photos per block (default: 1,500)")
    parser.add_argument("--blocks", type=int, default=3, help="blocks per executor (default: 3)")
    options = parser.parse_args()
    if options.smoke:
        options.views, options.block, options.blocks = 400, 300, 1
    os.environ.update(environment())
    lower_process_priority()  # as workers have
    model = run_in_fresh_process(export_lite0)
    photos = list_photos(options.photos)
    with tempfile.TemporaryDirectory(prefix="parecido-benchmark-") as directory, ray_cluster(1, CORES - 1) as cluster:
        root = Path(directory)
        block = write_catalogue(sample(photos, options.block), options.photos, root / "block.jsonl")
        speed = _compare(model, block, root, cluster, options.blocks)
        copies = math.ceil(options.views / len(photos)) - 1
        count = math.ceil(options.views / (1 + copies))
        whole = write_catalogue(sample(photos, count), options.photos, root / "whole.jsonl")
        killed = _kill(model, whole, root, cluster, copies)
    copied = [_copy_shard(views) for views in (1, 3)]
    print_records("Ray against the local executor, alternating", [speed])
    print_records("A raylet killed in the middle", [killed])
    print_records("Copying a shard into the cache", copied)
    store("ray_embedding", options.smoke, {"speed": speed, "killed": killed, "copying": copied})


def _embed(
    model: bytes, catalogue: Catalogue, cache: Path, executor: Executor, copies: int, stage: Watched
) -> tuple[EmbeddedCatalogue, dict[str, Any]]:
    """Embed into an empty cache; return also a digest of all views, the number of embedded images, and times."""
    how = EmbeddingConfig(LiteRtEmbedder(model, CORES), Augmentation(copies=copies), ImageLimits(), threads=CORES)
    cache.unlink(missing_ok=True)
    with closing(EmbeddingCache(cache, how.recipe, 1 + copies, print)) as opened:
        started = time.perf_counter()
        embedded = embed_catalogue(catalogue, replace(how, cache=opened), stage, executor)
        took_s = time.perf_counter() - started
        digest = hashlib.sha256()
        for image in range(len(embedded.digests)):
            digest.update(embedded.views[np.array([image])].tobytes())
        figures = {"digest": digest.hexdigest(), "put": opened.n_put, "seconds": took_s, "start": stage.first - started}
    return embedded, figures


def _on_ray(model: bytes, root: Path, cluster: RayCluster) -> RayExecutor:
    return RayExecutor(model, cluster.address, root / "shards", 10_000, CORES, print)


def _compare(model: bytes, catalogue: Catalogue, root: Path, cluster: RayCluster, blocks: int) -> dict[str, Any]:
    n, early = catalogue.n_images, CORES * PROGRESS_IMAGES
    rates = []
    for _ in range(blocks + 1):
        _, local = _embed(model, catalogue, root / "local.sqlite", embed_locally, 0, Watched())
        _, remote = _embed(model, catalogue, root / "ray.sqlite", _on_ray(model, root, cluster), 0, Watched())
        if local["digest"] != remote["digest"]:
            raise SystemExit("the cluster's embeddings are not the local executor's")
        rates.append((n / local["seconds"], (n - early) / (remote["seconds"] - remote["start"]), remote["start"]))
    rates = rates[1:]  # the first of both reads the photos from the disk
    return {
        "what": f"{n} photos per block",
        "local, images/s": statistics.median(local for local, _, _ in rates),
        "ray, images/s": statistics.median(ray for _, ray, _ in rates),
        "ratio": statistics.median(ray / local for local, ray, _ in rates),
        "least": min(ray / local for local, ray, _ in rates),
        "until the first images, s": statistics.median(start for _, _, start in rates),
    }


def _kill(model: bytes, catalogue: Catalogue, root: Path, cluster: RayCluster, copies: int) -> dict[str, Any]:
    _, local = _embed(model, catalogue, root / "local.sqlite", embed_locally, copies, Watched())
    stage = Watched(at=catalogue.n_images // 2, call=lambda: cluster.kill_raylet(2))
    embedded, remote = _embed(model, catalogue, root / "ray.sqlite", _on_ray(model, root, cluster), copies, stage)
    images = [image for item in embedded.items for image in item.images]
    return {
        "what": f"{len(images) * (1 + copies):,} views",
        "images": len(images),
        "expected": catalogue.n_images,
        "twice": len(images) - len(set(images)),
        "shown as done": stage.done,
        "images put": remote["put"],
        "…locally": local["put"],
        "same bits": local["digest"] == remote["digest"],
        "seconds": remote["seconds"],
        "…locally, all cores": local["seconds"],
    }


def _copy_shard(views: int) -> dict[str, Any]:
    random = np.random.default_rng(0)
    shard = EmbeddedShard(
        root="/photos",
        images=tuple(f"{number:08}.jpg" for number in range(_SHARD_IMAGES)),
        statuses=np.full((_SHARD_IMAGES, 2), 7, np.int64),
        digests=random.integers(0, 256, (_SHARD_IMAGES, 32), dtype=np.uint8),
        rows=np.arange(_SHARD_IMAGES),
        views=random.random((_SHARD_IMAGES, views, 1280), dtype=np.float32),
    )
    with tempfile.TemporaryDirectory(prefix="parecido-benchmark-") as directory:
        shard.write(Path(directory, "shard.npz"))
        path = Path(directory, "cache.sqlite")
        cache = EmbeddingCache(path, "recipe", views, print)
        started = time.process_time()
        EmbeddedShard.read(Path(directory, "shard.npz")).put_into(cache, is_new=True)
        took_s = time.process_time() - started
        cache.close()
        vectors = _SHARD_IMAGES * views * 1280 * 4
        size = path.stat().st_size
    what = f"{views} view{'s' if views > 1 else ''} per image"
    return {"what": what, "images per CPU second": _SHARD_IMAGES / took_s, "cache, of its embeddings": size / vectors}


if __name__ == "__main__":
    main()
