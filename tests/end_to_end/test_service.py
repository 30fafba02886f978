"""The service as users run it: a process on a port, serving a snapshot that a real build published."""

import base64
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

import pytest

from indexer.snapshots.publish import set_current
from shared.feedback_record import FeedbackRecord
from shared.snapshot.data_directory import DataDirectory
from tests.support.builders.real_build import COLOURS, KINDS, RealBuild, name_of

pytestmark = pytest.mark.tensorflow

_ROOT = Path(__file__).parents[2]
_WAIT_S = 60
_ITEM = f"discs/{name_of('blue')}"


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class _Service:
    """A `python -m search_service` on a free port; leaving the `with` block sends SIGTERM and waits."""

    def __init__(self, data: Path, **settings: str) -> None:
        self.port = _free_port()
        settings = {"PARECIDO_QUEUE_DEADLINE_S": "30", **settings}  # no busy machine is to refuse anybody
        self._log = data.with_name(f"{data.name}.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "search_service"],
            cwd=_ROOT,
            env=_environment(PARECIDO_DATA=str(data), PARECIDO_PORT=str(self.port), **settings),
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> "_Service":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(_WAIT_S)
        finally:
            self.process.kill()
            self._log.close()

    def get(self, path: str) -> _Answer:
        return self._ask("GET", path)

    def post(self, path: str, body: dict) -> _Answer:
        return self._ask("POST", path, json.dumps(body).encode(), "application/json")

    def post_file(self, path: str, file: Path) -> _Answer:
        boundary = "----parecido"
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="image"; filename="query.jpg"\r\n\r\n'
        body = head.encode() + file.read_bytes() + f"\r\n--{boundary}--\r\n".encode()
        return self._ask("POST", path, body, f"multipart/form-data; boundary={boundary}")

    def wait_for(self, path: str, status: int) -> _Answer:
        """Ask until this status comes."""
        deadline = time.monotonic() + _WAIT_S
        found: object = None
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"the service ended with status {self.process.returncode}"
            try:
                answer = self.get(path)
                if answer.status == status:
                    return answer
                found = answer
            except OSError as error:
                found = error
            time.sleep(0.1)
        raise AssertionError(f"{path} did not answer {status} within {_WAIT_S} s, but {found}")

    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        if not children.is_file():
            pytest.skip("there is no /proc here that tells a process's children")
        return [int(pid) for pid in children.read_text().split()]

    def _ask(self, method: str, path: str, body: bytes | None = None, content_type: str | None = None) -> _Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=_WAIT_S)
        try:
            connection.request(method, path, body, {"Content-Type": content_type} if content_type else {})
            response = connection.getresponse()
            return _Answer(response.status, response.headers, response.read())
        finally:
            connection.close()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _environment(**settings: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PARECIDO_")} | settings


@dataclass(frozen=True)
class _Published:
    """A service that ran before anything was published, what it said then, and what was published since."""

    service: _Service
    before: _Answer
    catalogue: Path
    data: Path
    summary: dict[str, Any]


@pytest.fixture(scope="module")
def published(real_build: RealBuild, tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Published]:
    data = DataDirectory(tmp_path_factory.mktemp("service") / "data")
    with _Service(data.root) as service:
        service.wait_for("/healthz", 200)
        before = service.get("/readyz")
        shutil.copytree(real_build.data.root, data.root, ignore=shutil.ignore_patterns("current"))
        set_current(data, real_build.data.current_id())
        service.wait_for("/readyz", 200)
        yield _Published(service, before, real_build.catalogue, data.root, real_build.done.json)


@pytest.fixture(scope="module")
def service(published: _Published) -> _Service:
    return published.service


def _item_url(item_id: str, tail: str = "") -> str:
    return f"/v1/items/{quote(item_id, safe='')}{tail}"


def test_a_service_that_runs_before_the_build_becomes_ready_without_a_restart(published, service) -> None:
    assert published.before.status == 503
    assert published.before.headers["Retry-After"] == "1"
    assert f"nothing is published in {published.data}" in published.before.json["error"]["message"]
    assert service.get("/readyz").json == {"status": "ready", "snapshot_id": published.summary["snapshot_id"]}
    assert service.process.poll() is None


def test_every_picture_of_the_catalogue_finds_itself_first(published, service) -> None:
    files = sorted(published.catalogue.rglob("*.jpg"))
    assert len(files) == published.summary["items"] == 18
    for file in files:
        answer = service.post_file("/v1/search", file)
        assert answer.status == 200
        best = answer.json["hits"][0]
        assert best["item_id"] == file.relative_to(published.catalogue).as_posix()
        assert best["score"] >= 0.999
        assert answer.json["searched"] == [file.parent.name]
        assert {hit["category"] for hit in answer.json["hits"]} == {file.parent.name}


def test_an_image_in_base64_finds_the_same(published, service) -> None:
    file = published.catalogue / _ITEM
    found = service.post("/v1/search", {"image_base64": base64.b64encode(file.read_bytes()).decode(), "top_k": 3}).json
    assert found["hits"] == service.post_file("/v1/search", file).json["hits"][:3]


def test_classify(published, service) -> None:
    query = service.post_file("/v1/classify", published.catalogue / _ITEM).json["query"]
    assert query["category"] == "discs"
    assert query["candidates"][0]["category"] == "discs"
    assert sum(one["confidence"] for one in query["candidates"]) == pytest.approx(1, abs=1e-4)


def test_categories(service) -> None:
    assert service.get("/v1/categories").json["categories"] == [
        {"category": name, "items": 6, "images": 6} for name in KINDS
    ]


def test_an_item_its_image_and_its_like(published, service) -> None:
    item = service.get(_item_url(_ITEM)).json
    assert (item["item_id"], item["category"]) == (_ITEM, "discs")
    image = service.get(item["image_url"])
    assert image.status == 200
    assert image.headers["Content-Type"] == "image/jpeg"
    assert image.body == (published.catalogue / _ITEM).read_bytes()
    found = [hit["item_id"] for hit in service.get(_item_url(_ITEM, "/similar?top_k=5")).json["hits"]]
    assert sorted([*found, _ITEM]) == [f"discs/{name_of(colour)}" for colour in sorted(COLOURS)]


def test_errors_have_their_body(service) -> None:
    answer = service.post("/v1/search", {"item_id": "discs/none.jpg"})
    assert answer.status == 404
    assert answer.json["error"]["code"] == "unknown_item"
    assert answer.json["error"]["request_id"] == answer.headers["X-Request-ID"]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_service_has_not_loaded_tensorflow(service) -> None:
    [worker] = service.workers()
    mapped = Path(f"/proc/{worker}/maps").read_text()
    assert "faiss" in mapped  # so this is the process that answers
    assert "libtensorflow" not in mapped
    assert "/tensorflow/" not in mapped


def test_sigterm_ends_it_with_status_0(tmp_path) -> None:
    with _Service(tmp_path / "data") as service:
        service.wait_for("/healthz", 200)
    assert service.process.returncode == 0
    with pytest.raises(ConnectionRefusedError):
        service.get("/healthz")


def test_two_workers_answer(published, tmp_path) -> None:
    data = tmp_path / "data"
    data.symlink_to(published.data)
    with _Service(data, PARECIDO_WORKERS="2") as service:
        service.wait_for("/readyz", 200)
        assert len(service.workers()) == 2
        for _ in range(8):
            assert service.post("/v1/search", {"item_id": _ITEM}).json["hits"][0]["item_id"] == _ITEM
    assert service.process.returncode == 0


def test_two_workers_keep_feedback_in_one_file(published, tmp_path) -> None:
    data, kept = tmp_path / "data", tmp_path / "feedback.jsonl"
    data.symlink_to(published.data)
    body = {
        "image_base64": base64.b64encode((published.catalogue / _ITEM).read_bytes()).decode(),
        "category": "stripes",
    }
    with _Service(data, PARECIDO_WORKERS="2", PARECIDO_FEEDBACK=str(kept)) as service:
        service.wait_for("/readyz", 200)
        with ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda _: service.post("/v1/feedback", body), range(32)))
        counted = service.get("/metrics").body.decode()
    assert {answer.status for answer in answers} == {201}
    records = [FeedbackRecord.from_line(line) for line in kept.read_bytes().splitlines()]
    assert sorted(one.feedback_id for one in records) == sorted(answer.json["feedback_id"] for answer in answers)
    assert {(one.category, one.predicted_category, one.embedding.shape) for one in records} == {
        ("stripes", "discs", (1280,))
    }
    assert 'parecido_feedback_total{kind="category",prediction="wrong"} 32.0' in counted


def test_a_damaged_snapshot_is_not_served_until_it_is_mended(published, tmp_path) -> None:
    data = tmp_path / "data"
    shutil.copytree(published.data, data)
    [partition] = data.rglob("discs*.faiss")
    good = partition.read_bytes()
    middle = len(good) // 2
    partition.write_bytes(good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :])
    with _Service(data) as service:
        service.wait_for("/healthz", 200)
        for answer in (service.get("/readyz"), service.post("/v1/search", {"item_id": _ITEM})):
            assert answer.status == 503
            assert answer.json["error"]["code"] == "not_ready"
            assert f"{partition} is damaged" in answer.json["error"]["message"]
        partition.write_bytes(good)
        service.wait_for("/readyz", 200)


def test_a_bad_setting_ends_it_with_status_2() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "search_service"],
        cwd=_ROOT,
        env=_environment(PARECIDO_PORT="abc"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "PARECIDO_PORT is 'abc'" in done.stderr
    assert "Traceback" not in done.stderr
