"""The clients in `examples/clients`, against a real service."""

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.snapshot.data_directory import DataDirectory
from tests.support.processes.swapping import IDS, Service, running

pytestmark = [
    pytest.mark.tensorflow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

_CLIENTS = Path(__file__).parents[2] / "examples" / "clients"
_PROGRAMS = {"search.py": sys.executable, "search.js": "node", "search.sh": "sh"}


def _command(client: str) -> list[str]:
    for program in (_PROGRAMS[client], "curl" if client == "search.sh" else sys.executable):
        if shutil.which(program) is None:
            pytest.skip(f"{client} was NOT TRIED: there is no {program} here")
    return [_PROGRAMS[client], str(_CLIENTS / client)]


def _run(client: str, photo: Path, port: int) -> str:
    command = [*_command(client), str(photo), f"http://127.0.0.1:{port}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def service(data: DataDirectory) -> Iterator[Service]:
    with running(data) as service:
        service.swap_to(IDS[0])
        yield service


@pytest.fixture(scope="module")
def photo(data: DataDirectory) -> Path:
    return data.root.with_name("catalogue") / "square" / "3.png"


@pytest.mark.parametrize("client", ["search.py", "search.js"])
def test_a_client_shows_everything(service, photo, client) -> None:
    lines = _run(client, photo, service.port).splitlines()
    assert lines[0] == "by photo: it shows square"
    assert re.fullmatch(r"  1\. square/3\.png (1\.000|0\.999)", lines[1])
    assert [line[:4] for line in lines[2:4]] == ["  2.", "  3."]
    assert lines[4].startswith("with options: searched square")
    assert lines[5] == "paging: 3 pages, 6 hits"
    assert lines[6:8] == ["batch: 2 hits", "batch: unknown_item"]
    assert lines[8].startswith(
        "refused: 400 invalid_request: `top_k` is 0; expected an integer from 1 to 1,000 (request "
    )


def test_curl_shows_everything(service, photo) -> None:
    text = _run("search.sh", photo, service.port)
    answers = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    assert [[hit["item_id"] for hit in answer.get("hits", [])][:1] for answer in answers[:2]] == [["square/3.png"]] * 2
    assert [hit["rank"] for page in answers[2:5] for hit in page["hits"]] == [1, 2, 3, 4, 5, 6]
    found, missing = answers[5]["results"]
    assert len(found["hits"]) == 2
    assert missing["error"]["code"] == "unknown_item"
    assert answers[6]["error"]["code"] == "invalid_request"
    assert text.endswith("curl ended with status 22\n")


@pytest.mark.parametrize("client", _PROGRAMS)
def test_a_client_waits_for_a_service_that_is_not_ready(data, photo, tmp_path, client) -> None:
    _command(client)
    empty = DataDirectory(tmp_path / "data")
    empty.root.mkdir()
    with running(empty) as service, ThreadPoolExecutor() as threads:
        _wait_until_up(service)
        assert service.ask("/readyz")[0] == 503
        asked = threads.submit(_run, client, photo, service.port)
        time.sleep(1)
        assert not asked.done()
        shutil.copytree(data.paths(IDS[0]).root, empty.paths(IDS[0]).root)
        service.swap_to(IDS[0])
        assert "square" in asked.result()


def _wait_until_up(service: Service) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            assert service.ask("/healthz")[0] == 200
            return
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
