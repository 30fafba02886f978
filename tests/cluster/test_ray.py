"""Embedding on a real cluster of two nodes, which are killed: `make test-ray`."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from indexer.embedding.cluster.shard import EmbeddedShard
from tests.support.processes.ray_cluster import RayCluster, environment, ray_cluster

pytestmark = [pytest.mark.ray, pytest.mark.tensorflow]

_DRIVER = Path(__file__).with_name("driver.py")
_IMAGES = 160
_KILLED_AFTER = 50
_RUN_LIMIT_S = 240.0
_ATTEMPTS = 3
"""Until a raylet is killed in the middle of a shard, and not in the instant after it."""


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """JSON lines with an image an item, of which one is bad; the files are old enough to be remembered."""
    root = tmp_path_factory.mktemp("photos")
    lines = []
    for number in range(_IMAGES):
        name = f"{number:03}.png"
        pixels = np.random.default_rng(number).integers(0, 256, (24, 24, 3), dtype=np.uint8)
        # One of a shard takes longer than all the others, so that a node is killed in the middle of it.
        size = (1600, 1600) if number % 10 == 5 else (240, 240)
        Image.fromarray(pixels).resize(size).save(root / name, compress_level=1)
        lines.append({"item_id": name, "category": f"c{number % 3}", "image": name})
    (root / "007.png").write_text("no picture")
    for file in root.iterdir():
        os.utime(file, (1_700_000_000, 1_700_000_000))
    path = root / "items.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture(scope="module")
def locally(catalogue: Path, lite0_tflite: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What this machine makes of it."""
    run = _Run(catalogue, lite0_tflite, tmp_path_factory.mktemp("local"))
    return run.start().result()


@pytest.fixture
def cluster() -> Iterator[RayCluster]:
    with ray_cluster(1, 1) as cluster:
        yield cluster


class _Run:
    """A driver, its cache and its shards; it is killed after `_RUN_LIMIT_S`, so that no test waits for ever."""

    def __init__(self, catalogue: Path, model: Path, root: Path, address: str = "") -> None:
        self.shards = root / "shards"
        self.cache = root / "cache.sqlite"
        self._root = root
        self._told = [catalogue, self.cache, model, *([address, self.shards] if address else [])]
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> "_Run":
        command = [sys.executable, _DRIVER, *map(str, self._told)]
        with (self._root / "stderr").open("a") as errors:
            self.process = subprocess.Popen(
                command, env=environment(), stdout=subprocess.PIPE, stderr=errors, text=True
            )
        limit = threading.Timer(_RUN_LIMIT_S, self.process.kill)
        limit.daemon = True
        limit.start()
        return self

    def wait_for(self, images: int) -> None:
        for _ in range(images):
            assert self.process.stdout.readline() == "done\n", (self._root / "stderr").read_text()

    def result(self) -> dict[str, Any]:
        out, _ = self.process.communicate()
        assert self.process.returncode == 0, (self._root / "stderr").read_text()
        *done, last = out.splitlines()
        assert set(done) <= {"done"}, done
        return json.loads(last) | {"done": len(done)}

    def said(self) -> str:
        return (self._root / "stderr").read_text()

    def finished(self) -> set[bytes]:
        """The digests of what a killed driver has in the cache or in finished shards."""
        with closing(sqlite3.connect(self.cache)) as cache:
            found = {digest for (digest,) in cache.execute("SELECT digest FROM entries")}
        for path in self.shards.glob("*/*.npz"):
            shard = EmbeddedShard.read(path)
            found |= {one.digest for one in shard.outcomes() if not isinstance(one, str)}
        return found


def _require_same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name in ("items", "digests", "views", "problems"):
        assert found[name] == wanted[name], name


def test_a_raylet_that_is_killed_costs_nothing(
    catalogue: Path, lite0_tflite: Path, tmp_path: Path, locally: dict[str, Any]
) -> None:
    for attempt in range(_ATTEMPTS):
        root = tmp_path / str(attempt)
        root.mkdir()
        # The driver's own node has no cores: one of the others may do it all before the second has a worker.
        with ray_cluster(0, 1, 1) as cluster:
            run = _Run(catalogue, lite0_tflite, root, cluster.address).start()
            run.wait_for(_KILLED_AFTER)
            cluster.kill_raylet_at("Worker.embed")
            found = run.result()
            _require_same(found, locally)
            assert found["put"] == found["fresh"] == locally["put"] == _IMAGES - 1
            assert found["done"] == _IMAGES - _KILLED_AFTER
            assert len(set(found["digests"])) == len(found["digests"]) == _IMAGES - 1
            assert [one["item_id"] for one in found["problems"]] == ["007.png"]
            # A worker that was killed while it wrote leaves half a file, which the next build deletes.
            assert list(run.shards.rglob("*.npz")) == []

            again = _Run(catalogue, lite0_tflite, root, cluster.address).start().result()
            _require_same(again, locally)
            assert again["put"] == again["fresh"] == 0
            assert again["done"] == _IMAGES
            assert [path for path in run.shards.rglob("*") if path.is_file()] == []
        if "could not be embedded, time 1" in run.said():
            return
    pytest.fail("each time the raylet was killed when its worker was as good as done with a shard")


def test_what_a_killed_driver_finished_is_not_embedded_again(
    cluster: RayCluster, catalogue: Path, lite0_tflite: Path, tmp_path: Path, locally: dict[str, Any]
) -> None:
    run = _Run(catalogue, lite0_tflite, tmp_path, cluster.address).start()
    run.wait_for(_KILLED_AFTER)
    run.process.send_signal(signal.SIGKILL)
    run.process.communicate()
    finished = run.finished()
    assert 10 <= len(finished) < _IMAGES - 1
    # Of a worker that was killed while it wrote; and what another program would have damaged.
    [directory] = run.shards.iterdir()
    (directory / "half.npz.part").write_bytes(b"PK")
    (directory / "damaged.npz").write_bytes(b"PK")

    found = _Run(catalogue, lite0_tflite, tmp_path, cluster.address).start().result()
    _require_same(found, locally)
    # Workers may have finished a shard after the driver was killed: that much fewer.
    assert _IMAGES - 1 - len(finished) - 2 * 10 <= found["fresh"] <= _IMAGES - 1 - len(finished)
    assert found["put"] == found["fresh"]
    assert found["done"] == _IMAGES
    assert [path for path in run.shards.rglob("*") if path.is_file()] == []


def test_a_build_embeds_there_and_is_searched_as_one_from_here(cluster: RayCluster, tmp_path: Path) -> None:
    from tests.support.builders.shop import Shop, published_hits  # TensorFlow is used by the builds' own processes only

    shop = Shop(tmp_path / "shop").draw()
    hits = []
    for name, options in (("here", []), ("there", ["--executor", "ray", "--ray-address", cluster.address])):
        data = tmp_path / name
        told = ["--catalogue", shop.catalogue, "--data", data, "--backbone", "efficientnet_lite0", "--report", "off"]
        done = subprocess.run(
            [sys.executable, "-m", "indexer", "build", *map(str, told), *options, "--augmentations", "1", "--json"],
            env=environment(),
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            check=False,
            timeout=_RUN_LIMIT_S,
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1])["embedded"] == 2 * 36
        hits.append(published_hits(Shop(shop.root, data=data).current()))
    assert hits[0] == hits[1]
