"""Snapshots swapped under load, and damaged ones refused, by a real service with two workers.

The snapshots hold the same pictures, but each item's metadata names the snapshot that it is from: an answer that mixes
two would show it. Which snapshot a worker has open is seen by the manifest that it holds a lease on.
"""

import base64
import http.client
import itertools
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fakes import is_leased
from PIL import Image, ImageDraw

from indexer.publish import set_current
from shared.manifest import Manifest
from shared.snapshot import DataDirectory

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

_ROOT = Path(__file__).parents[2]
_IDS = ("20250101T000000-a", "20250102T000000-b", "20250103T000000-c")
_DAMAGED = "20250104T000000-d"
_WAIT_S = 30.0
_SWAPS = 50
_CLIENTS = 16
_MORE_FILES = 16  # a request thread opens `items.sqlite` at its first query, and connections come and go
_MORE_MB = 24.0  # less than one engine


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


def _build(catalogue: Path, data: Path) -> str:
    options = ["--backbone", "efficientnet_lite0", "--augmentations", "0", "--json"]
    command = [sys.executable, "-m", "indexer", "build", "--catalogue", str(catalogue), "--data", str(data), *options]
    done = subprocess.run(command, cwd=_ROOT, env=_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])["snapshot_id"]


def _copy(data: DataDirectory, source_id: str, snapshot_id: str) -> None:
    """A good snapshot of another id, whose items say that they are from it."""
    paths = data.paths(snapshot_id)
    shutil.copytree(data.paths(source_id).root, paths.root)
    with closing(sqlite3.connect(paths.items)) as connection, connection:
        connection.execute("UPDATE items SET metadata = ?", (json.dumps({"from": snapshot_id}),))
    manifest = replace(Manifest.read(paths.manifest), snapshot_id=snapshot_id, checksums=paths.checksums())
    manifest.write(paths.manifest)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataDirectory:
    root = tmp_path_factory.mktemp("swap")
    _draw_catalogue(root / "catalogue")
    data = DataDirectory(root / "data")
    built = _build(root / "catalogue", data.root)
    for snapshot_id in (*_IDS, _DAMAGED):
        _copy(data, built, snapshot_id)
    [partition] = data.paths(_DAMAGED).partitions.glob("square*.faiss")
    content = bytearray(partition.read_bytes())
    content[len(content) // 2] ^= 1
    partition.write_bytes(content)
    return data


# The service


@dataclass(frozen=True)
class _Service:
    port: int
    process: subprocess.Popen
    data: DataDirectory

    def ask(self, path: str, body: dict | None = None) -> tuple[int, Any]:
        """Status and JSON; every request has a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_WAIT_S)
        with closing(connection):
            if body is None:
                connection.request("GET", path)
            else:
                connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, json.loads(response.read())

    def workers(self) -> list[int]:
        return [
            int(pid) for pid in Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        ]

    def swap_to(self, snapshot_id: str) -> None:
        """Publish, and wait until each worker has this snapshot open and no other."""
        set_current(self.data, snapshot_id)
        only_this = [{snapshot_id}] * 2
        _wait_until(f"swapped to {snapshot_id}", lambda: [_open_snapshots(pid) for pid in self.workers()] == only_this)


@contextmanager
def _running(data: DataDirectory) -> Iterator[_Service]:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    settings = {"DATA": str(data.root), "PORT": str(port), "WORKERS": "2", "POLL_S": "0.1"}
    environment = _environment(**{f"PARECIDO_{name}": value for name, value in settings.items()})
    with data.root.with_name("service.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "search_service"], cwd=_ROOT, env=environment, stdout=log, stderr=log
        )
        try:
            yield _Service(port, process, data)
        finally:
            process.terminate()
            assert process.wait(_WAIT_S) == 0


@pytest.fixture(scope="module")
def service(data: DataDirectory) -> Iterator[_Service]:
    with _running(data) as service:
        service.swap_to(_IDS[0])
        yield service


def _wait_until(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {_WAIT_S} s: {what}"
        time.sleep(0.02)


def _open_files(pid: int) -> list[str]:
    """What the descriptors of a process lead to."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(str(descriptor.readlink()))
        except FileNotFoundError:  # closed meanwhile
            continue
    return found


def _open_snapshots(pid: int) -> set[str]:
    """The ids of the snapshots that a process holds a lease on."""
    return {Path(file).parent.name for file in _open_files(pid) if file.endswith("/manifest.json")}


def _used(pid: int) -> tuple[int, float]:
    """Open files and resident megabytes of a process: the most of several looks, since requests come and go."""
    looks = []
    for _ in range(10):
        status = Path(f"/proc/{pid}/status").read_text()
        looks.append((len(_open_files(pid)), int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024))
        time.sleep(0.05)
    return max(files for files, _ in looks), max(megabytes for _, megabytes in looks)


# The load


class _Load:
    """Clients that search without a pause, by item and by image, and check each answer."""

    def __init__(self, service: _Service, catalogue: Path) -> None:
        self._service = service
        self._images = {
            path.relative_to(catalogue).as_posix(): base64.b64encode(path.read_bytes()).decode()
            for path in sorted(catalogue.rglob("*.png"))
        }
        self._ended = threading.Event()
        self.answers: list[str] = []
        self.faults: list[str] = []

    @contextmanager
    def running(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._ask_until_ended) for _ in range(_CLIENTS)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._ended.set()
            for thread in threads:
                thread.join()

    def _ask_until_ended(self) -> None:
        for item_id in itertools.cycle(self._images):
            for query in ({"item_id": item_id}, {"image_base64": self._images[item_id]}):
                if self._ended.is_set():
                    return
                try:
                    self._check(item_id, *self._service.ask("/v1/search", {**query, "top_k": 4, "probe": 2}))
                except Exception as error:
                    self.faults.append(repr(error))

    def _check(self, item_id: str, status: int, answer: Any) -> None:
        snapshot_id, hits = answer.get("snapshot_id"), answer.get("hits", [])
        good = status == 200 and len(hits) == 4 and hits[0]["item_id"] == item_id
        if good and {hit["metadata"]["from"] for hit in hits} == {snapshot_id}:
            self.answers.append(snapshot_id)
        else:
            self.faults.append(f"{status} {answer}")


def test_fifty_swaps_under_load(data, service) -> None:
    load = _Load(service, data.root.parent / "catalogue")
    workers = service.workers()
    targets = list(itertools.islice(itertools.cycle([*_IDS[1:], _IDS[0]]), _SWAPS))
    with load.running():
        for number, snapshot_id in enumerate(targets, start=1):
            service.swap_to(snapshot_id)
            if number == 10:
                after_ten = [_used(pid) for pid in workers]
        after_all = [_used(pid) for pid in workers]
    figures = f"{len(load.answers)} answers; files and MB after ten swaps {after_ten}, after all {after_all}"
    print(figures)
    assert load.faults == []
    assert set(load.answers) == set(_IDS)
    assert service.workers() == workers
    for (files_before, mb_before), (files, mb) in zip(after_ten, after_all, strict=True):
        assert files <= files_before + _MORE_FILES, figures
        assert mb <= mb_before + _MORE_MB, figures
    leased = [snapshot_id for snapshot_id in _IDS if is_leased(data.paths(snapshot_id))]
    assert leased == [targets[-1]]


def test_a_damaged_snapshot_is_refused_and_the_next_good_one_is_swapped_in(data, service) -> None:
    first, second = _IDS[:2]
    service.swap_to(first)
    set_current(data, _DAMAGED)
    _wait_until("both workers refuse it", lambda: _refusals(service) == [_DAMAGED] * 20)
    status, ready = service.ask("/readyz")
    assert (status, ready["status"], ready["snapshot_id"]) == (200, "ready", first)
    assert "square.faiss is damaged" in ready["refused"]["reason"]
    assert service.ask("/v1/search", {"item_id": "disc/0.png"})[1]["snapshot_id"] == first
    _wait_until("nobody has it open", lambda: not is_leased(data.paths(_DAMAGED)))
    service.swap_to(second)
    assert _refusals(service) == [None] * 20
    assert service.ask("/readyz") == (200, {"status": "ready", "snapshot_id": second})


def _refusals(service: _Service) -> list[str | None]:
    """What twenty answers of `/readyz`, so of both workers, say was refused; None where nothing was."""
    answers = [service.ask("/readyz")[1] for _ in range(20)]
    return [answer["refused"]["snapshot_id"] or "unknown" if "refused" in answer else None for answer in answers]


def test_without_current_the_old_snapshot_is_served_on(data, service) -> None:
    service.swap_to(_IDS[2])
    data.current.unlink()
    _wait_until("it is said", lambda: _refusals(service) == ["unknown"] * 20)
    status, ready = service.ask("/readyz")
    assert (status, ready["snapshot_id"]) == (200, _IDS[2])
    set_current(data, _IDS[2])
    _wait_until("it is well again", lambda: _refusals(service) == [None] * 20)
