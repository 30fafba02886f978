"""A real service with two workers, and snapshots for it to swap between or to refuse.

The snapshots hold the same pictures, but each item's metadata names the snapshot that it is from: an answer that mixes
two would show it. Which snapshot a worker has open is seen by the manifest that it holds a lease on.
"""

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from indexer.snapshots.publish import set_current
from shared.manifest import Manifest
from shared.snapshot.data_directory import DataDirectory
from tests.support.builders import quick_stages
from tests.support.builders.shop import run
from tests.support.processes.http_calls import fetch

_ROOT = Path(__file__).parents[3]
IDS = ("20250101T000000-a", "20250102T000000-b", "20250103T000000-c")
DAMAGED = "20250104T000000-d"
_WAIT_S = 30.0


def _environment(**settings: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PARECIDO_")} | settings


# The snapshots


def _draw_catalogue(root: Path) -> None:
    for number in range(6):
        box = (20 + 8 * number, 20 + 4 * number, 180 - 6 * number, 180 - 10 * number)
        colour = (40 * number, 200 - 30 * number, 90)
        for category in ("disc", "square"):
            image = Image.new("RGB", (200, 200), "white")
            pen = ImageDraw.Draw(image)
            (pen.ellipse if category == "disc" else pen.rectangle)(box, colour)
            (root / category).mkdir(parents=True, exist_ok=True)
            image.save(root / category / f"{number}.png")


def _build(catalogue: Path, data: Path, base: bytes) -> str:
    options = ("--backbone", "efficientnet_lite0", "--augmentations", 0, "--report", "off")
    with quick_stages.exported(base):
        done = run("build", "--catalogue", catalogue, "--data", data, *options)
    assert done.status == 0, done.err
    return str(done.json["snapshot_id"])


def _copy(data: DataDirectory, source_id: str, snapshot_id: str) -> None:
    """A good snapshot of another id, whose items say that they are from it."""
    paths = data.paths(snapshot_id)
    shutil.copytree(data.paths(source_id).root, paths.root)
    with closing(sqlite3.connect(paths.items)) as connection, connection:
        connection.execute("UPDATE items SET metadata = ?", (json.dumps({"from": snapshot_id}),))
    manifest = replace(Manifest.read(paths.manifest), snapshot_id=snapshot_id, checksums=paths.checksums())
    manifest.write(paths.manifest)


def make_snapshots(root: Path, base: bytes) -> DataDirectory:
    """The good snapshots of `IDS`, and one of `DAMAGED`, beside their catalogue; none is published.

    Args:
        root: an existing directory.
        base: exported, that they embed by.
    """
    _draw_catalogue(root / "catalogue")
    data = DataDirectory(root / "data")
    built = _build(root / "catalogue", data.root, base)
    for snapshot_id in (*IDS, DAMAGED):
        _copy(data, built, snapshot_id)
    [partition] = data.paths(DAMAGED).partitions.glob("square*.faiss")
    content = bytearray(partition.read_bytes())
    content[len(content) // 2] ^= 1
    partition.write_bytes(content)
    return data


# The service


@dataclass(frozen=True)
class Service:
    port: int
    process: subprocess.Popen
    data: DataDirectory

    def ask(self, path: str, body: dict | None = None) -> tuple[int, Any]:
        """Status and JSON; every request has a connection of its own."""
        status, content = self.fetch(path, body)
        return status, json.loads(content)

    def fetch(self, path: str, body: dict | None = None) -> tuple[int, bytes]:
        """As `ask`, whatever the answer is."""
        return fetch(self.port, path, body, _WAIT_S)

    def is_ready(self) -> bool:
        """Whether it answers, and serves a snapshot."""
        try:
            return self.fetch("/readyz")[0] == 200
        except OSError:
            return False

    def workers(self) -> list[int]:
        return [
            int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def swap_to(self, snapshot_id: str) -> None:
        """Publish, and wait until each worker has this snapshot open and no other."""
        set_current(self.data, snapshot_id)
        only_this = [{snapshot_id}] * 2
        wait_until(f"swapped to {snapshot_id}", lambda: [open_snapshots(pid) for pid in self.workers()] == only_this)


@contextmanager
def running(data: DataDirectory, **changed: float | str) -> Iterator[Service]:
    """A service with two workers that refuses nobody on a slow machine, or with settings that are changed."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    settings = {"DATA": str(data.root), "PORT": str(port), "WORKERS": "2", "POLL_S": "0.1", "QUEUE_DEADLINE_S": "30"}
    settings |= {name.upper(): str(value) for name, value in changed.items()}
    environment = _environment(**{f"PARECIDO_{name}": value for name, value in settings.items()})
    with data.root.with_name("service.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "search_service"], cwd=_ROOT, env=environment, stdout=log, stderr=log
        )
        try:
            yield Service(port, process, data)
        finally:
            process.terminate()
            assert process.wait(_WAIT_S) == 0


def wait_until(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {_WAIT_S} s: {what}"
        time.sleep(0.02)


def open_files(pid: int) -> list[str]:
    """What the descriptors of a process lead to."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(str(descriptor.readlink()))
        except FileNotFoundError:  # closed meanwhile
            continue
    return found


def open_snapshots(pid: int) -> set[str]:
    """The ids of the snapshots that a process holds a lease on."""
    return {Path(file).parent.name for file in open_files(pid) if file.endswith("/manifest.json")}
