"""A Milvus server behind the service: the same answers, swaps without a failed request, and what happens when it dies.

Real photos, built once without and once with Milvus; the embeddings come from the cache the second time.
"""

import http.client
import json
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from indexer.snapshots.milvus_collections import connect
from search_service.settings import ServiceSettings
from shared.images.decode import decode_image
from shared.images.limits import ImageLimits
from shared.images.preprocessing import to_pixels
from shared.manifest import Manifest
from shared.snapshot.data_directory import DataDirectory
from shared.snapshot.snapshot import Snapshot
from tests.support.builders.real_build import command, succeed
from tests.support.processes.load import Load
from tests.support.processes.milvus_server import ADDRESS, MilvusServer, drop_collections
from tests.support.processes.swapping import Service, open_snapshots, running, wait_until

pytestmark = [pytest.mark.milvus, pytest.mark.clothing, pytest.mark.tensorflow]

_ROOT = Path(__file__).parents[2]
_STORE = f"{ADDRESS}?name=parecido_test"


@pytest.fixture(scope="module")
def server(milvus_server: MilvusServer) -> Iterator[MilvusServer]:
    milvus_server.up()
    yield milvus_server
    milvus_server.up()
    drop_collections(_STORE, "parecido_test")


@pytest.fixture(scope="module")
def catalogue(clothing: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photos as a file, so that single items can go."""
    path = tmp_path_factory.mktemp("catalogue") / "items.jsonl"
    photos = sorted((clothing / "train").glob("*/*.jpg"))
    rows = [
        {
            "item_id": f"{one.parent.name}/{one.name}",
            "category": one.parent.name,
            "image": f"{one.parent.name}/{one.name}",
        }
        for one in photos
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def data(
    catalogue: Path, clothing: Path, clothing_build: DataDirectory, tmp_path_factory: pytest.TempPathFactory
) -> DataDirectory:
    root = tmp_path_factory.mktemp("built") / "data"
    shutil.copytree(clothing_build.root, root)
    built = succeed(
        "build", "--catalogue", catalogue, "--image-root", clothing / "train", "--data", root, "--store", "embedded",
        "--backbone", "efficientnet_lite0", "--index-kind", "exact", "--report", "off",
    )  # fmt: skip
    assert built["embedded"] == 0
    return DataDirectory(root)


@pytest.fixture(scope="module")
def in_milvus(data: DataDirectory, server: MilvusServer) -> tuple[str, str]:
    """The ids of the embedded snapshot, and of the one in Milvus."""
    embedded = data.current_id()
    built = succeed("build", "--data", data.root, "--store", _STORE)
    assert built["embedded"] == 0
    return embedded, built["snapshot_id"]


@pytest.fixture(scope="module")
def queries(clothing: Path, data: DataDirectory) -> np.ndarray:
    photos = sorted((clothing / "validation").glob("*/*.jpg"))
    snapshot = Snapshot.open(data.paths(data.current_id()))
    try:
        pixels = [to_pixels(decode_image(photo.read_bytes(), ImageLimits())) for photo in photos]
        return np.concatenate([snapshot.embedder.embed(one[np.newaxis]) for one in pixels])
    finally:
        snapshot.close()


def _collection(data: DataDirectory, snapshot_id: str) -> str:
    return Manifest.read(data.paths(snapshot_id).manifest).store.collection


def _alias() -> str:
    with closing(connect(_STORE)) as connection:
        return connection.call("describe_alias", alias="parecido_test")["collection_name"]


def test_every_query_has_the_same_ten_and_scores(
    data: DataDirectory, in_milvus: tuple[str, str], queries: np.ndarray
) -> None:
    embedded, moved = (Snapshot.open(data.paths(snapshot_id)) for snapshot_id in in_milvus)
    try:
        assert len(queries) == 341
        for category, part in embedded.partitions.items():
            wanted, found = part.search(queries, 10), moved.partitions[category].search(queries, 10)
            for one, other in zip(wanted, found, strict=True):
                assert one == other
        assert all(entry.ann_recall_at_10 == 1.0 for entry in moved.manifest.categories)
    finally:
        embedded.close()
        moved.close()


@pytest.fixture
def service(data: DataDirectory, in_milvus: tuple[str, str]) -> Iterator[Service]:
    """It waits long for Milvus: on a busy machine both have little of a core."""
    with running(data, milvus_timeout_s=60) as found:
        wait_until("ready", found.is_ready)
        yield found


@pytest.fixture
def hasty(data: DataDirectory, in_milvus: tuple[str, str]) -> Iterator[Service]:
    """It waits as long as it does unless told otherwise. Both workers serve: a worker that is late has nothing open."""
    with running(data) as found:
        served = [{data.current_id()}] * 2
        wait_until("ready", lambda: [open_snapshots(pid) for pid in found.workers()] == served and found.is_ready())
        yield found


def _any_photo(clothing: Path) -> bytes:
    return next((clothing / "validation").glob("*/*.jpg")).read_bytes()


def test_filters_groups_items_and_batches(service: Service) -> None:
    status, found = service.ask("/v1/search", {"item_id": _first_item(service), "top_k": 5, "min_score": 0.1})
    assert (status, len(found["hits"])) == (200, 5)
    item = found["hits"][0]["item_id"]
    assert service.ask(f"/v1/items/{item}/similar?top_k=3")[0] == 200
    status, several = service.ask("/v1/search/batch", {"queries": [{"item_id": item}] * 4, "top_k": 2})
    assert (status, len(several["results"])) == (200, 4)
    status, folded = service.ask("/v1/search", {"item_id": item, "collapse_above": 0.9, "top_k": 5})
    assert (status, len(folded["hits"])) == (200, 5)


def _asked(service: Service, path: str) -> tuple[int, str | None, dict]:
    """Status, `Retry-After`, and the JSON."""
    with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)) as connection:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.headers.get("Retry-After"), json.loads(response.read())


def _first_item(service: Service) -> str:
    return service.ask("/v1/categories?examples=1")[1]["categories"][0]["examples"][0]["item_id"]


def test_swaps_and_a_rollback_under_load_fail_no_request(
    data: DataDirectory, in_milvus: tuple[str, str], service: Service, clothing: Path, catalogue: Path
) -> None:
    load = Load("127.0.0.1", service.port, _any_photo(clothing), clients=2)
    load.start()
    lines = catalogue.read_text(encoding="utf-8").splitlines()
    catalogue.write_text("\n".join(lines[1:]) + "\n", encoding="utf-8")
    try:
        built = succeed("build", "--data", data.root)
        assert (built["published"], built["embedded"], built["items"]) == (True, 0, len(lines) - 1)
        assert _alias() == _collection(data, built["snapshot_id"])
        wait_until("swapped", lambda: service.ask("/readyz")[1]["snapshot_id"] == built["snapshot_id"])
        back = succeed("rollback", "--data", data.root)
        assert back["snapshot_id"] == in_milvus[1]
        assert _alias() == _collection(data, in_milvus[1])
        wait_until("swapped back", lambda: service.ask("/readyz")[1]["snapshot_id"] == in_milvus[1])
    finally:
        counts = load.end()
        catalogue.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert counts.failed == []
    assert counts.not_reached == []
    assert {built["snapshot_id"], in_milvus[1]} <= set(counts.answers)


def test_an_indexer_that_is_killed_leaves_the_alias_at_the_complete_collection(
    data: DataDirectory, in_milvus: tuple[str, str], catalogue: Path
) -> None:
    complete, lines = _alias(), catalogue.read_text(encoding="utf-8").splitlines()
    catalogue.write_text("\n".join(lines[2:]) + "\n", encoding="utf-8")
    try:
        before = data.collections.read_text(encoding="utf-8")
        process = subprocess.Popen(
            command("build", "--data", data.root), cwd=_ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while data.collections.read_text(encoding="utf-8") == before:  # it is about to upload
            assert process.poll() is None
            time.sleep(0.02)
        time.sleep(0.5)
        process.send_signal(signal.SIGKILL)
        process.wait()
    finally:
        catalogue.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert _alias() == complete
    assert data.current_id() == in_milvus[1]
    half = data.collections.read_text(encoding="utf-8").splitlines()[-1].split("\t")[0]
    succeed("build", "--data", data.root)
    with closing(connect(_STORE)) as connection:
        assert not connection.call("has_collection", collection_name=half)


def test_a_milvus_that_is_killed_gives_503_in_time_and_the_service_recovers(
    server: MilvusServer, hasty: Service
) -> None:
    service = hasty
    item = {"item_id": _first_item(service)}
    assert service.ask("/v1/search", item)[0] == 200
    server.kill()
    seconds, statuses = [], []

    def ask() -> None:
        for _ in range(4):
            started = time.monotonic()
            status, retry_after, _ = _asked(service, f"/v1/items/{item['item_id']}/similar")
            statuses.append((status, retry_after is not None))
            seconds.append(time.monotonic() - started)

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert set(statuses) == {(503, True)}
    # The limit is that of one question to Milvus; the rest is for a busy machine, and less than pymilvus would wait.
    assert max(seconds) < ServiceSettings().milvus_timeout_s + 8
    status, retry_after, ready = _asked(service, "/readyz")
    assert (status, ready["error"]["code"]) == (503, "store_unavailable")
    assert int(retry_after) >= 1
    assert "Milvus" in ready["error"]["message"]
    assert service.ask("/healthz") == (200, {"status": "ok"})
    assert service.ask("/v1/items/" + item["item_id"])[0] == 200
    server.up()
    deadline = time.monotonic() + 240
    while service.ask("/v1/search", item)[0] != 200:
        assert time.monotonic() < deadline, "it has not recovered"
        time.sleep(0.5)
    wait_until("each worker has seen that it is back", service.is_ready)


def test_older_collections_are_unloaded_and_a_rollback_loads_them(
    data: DataDirectory, in_milvus: tuple[str, str], catalogue: Path
) -> None:
    lines = catalogue.read_text(encoding="utf-8").splitlines()
    try:
        for fewer in (3, 4):
            catalogue.write_text("\n".join(lines[fewer:]) + "\n", encoding="utf-8")
            succeed("build", "--data", data.root)
    finally:
        catalogue.write_text("\n".join(lines) + "\n", encoding="utf-8")
    first = _collection(data, in_milvus[1])
    assert (_is_loaded(first), _is_loaded(_collection(data, data.current_id()))) == (False, True)
    succeed("rollback", "--data", data.root, in_milvus[1])
    assert _is_loaded(first)
    assert _alias() == first


def _is_loaded(collection: str) -> bool:
    with closing(connect(_STORE)) as connection:
        return connection.call("get_load_state", collection_name=collection)["state"].name == "Loaded"
