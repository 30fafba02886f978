"""The containers as users run them, on whatever engine `docker` reaches: `make test-compose`.

Two projects: one as it is after `make up` without a catalogue, one with a catalogue of its own, in which things change.
"""

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from examples.sample_catalogue.render import CATEGORIES, render_catalogue
from tests.support.processes.load import Counts, Load
from tests.support.processes.stack import Stack, stack, wait_until

pytestmark = pytest.mark.docker

_CLIENTS = 16
_SERVICE_IMAGE_BYTES = 700_000_000
_LOAD = Path(__file__).parents[1] / "support" / "processes" / "load.py"


@pytest.fixture(scope="session", autouse=True)
def _engine() -> None:
    """Skip where nothing can be built or run."""
    for command in (["docker", "version"], ["docker", "compose", "version"], ["docker", "buildx", "version"]):
        try:
            found = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError:
            pytest.skip("NOTHING OF THE CONTAINERS WAS TESTED: there is no `docker` here")
        if found.returncode != 0:
            pytest.skip(f"NOTHING OF THE CONTAINERS WAS TESTED: `{' '.join(command)}` says {found.stderr.strip()}")


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """After `make up` on empty volumes."""
    with stack(tmp_path_factory.mktemp("sample")) as sample:
        sample.make("up")
        yield sample


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of a few items, with their images beside it."""
    return render_catalogue(_opened(tmp_path_factory.mktemp("catalogue")), items=6, queries=0)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, catalogue: Path) -> Iterator[Stack]:
    """A service of a catalogue that .env names, started before anything was indexed."""
    with stack(tmp_path_factory.mktemp("shop")) as shop:
        named = f"CATALOGUE='{catalogue.parent}'\nCATALOGUE_FILE='{catalogue.name}'\n"
        options = "INDEXER_OPTIONS=--backbone efficientnet_lite0 --augmentations 1\n"
        (shop.directory / ".env").write_text(f"PARECIDO_WORKERS=2\nPARECIDO_QUEUE_DEADLINE_S=30\n{options}{named}")
        shop.compose("build")
        shop.compose("up", "--detach", "--no-deps", "search")
        yield shop


def _opened(directory: Path) -> Path:
    """A directory of pytest's, which nobody else may enter otherwise, for the containers' user to read."""
    directory.chmod(0o755)
    return directory


def _snapshot_id(stack: Stack) -> str:
    return stack.ask("/readyz")["snapshot_id"]


def _search(stack: Stack, item_id: str) -> dict[str, Any]:
    """The answer to an item's own image, as the service hands it out."""
    status, image = stack.fetch(f"/v1/items/{item_id}/image")
    assert status == 200, image
    return stack.ask("/v1/search", {"image_base64": base64.b64encode(image).decode()})


# After `make up`


def test_a_sample_image_finds_itself(sample: Stack) -> None:
    for category in CATEGORIES:
        answer = _search(sample, f"{category}-0003")
        assert answer["query"]["category"] == category
        best = answer["hits"][0]
        assert (best["item_id"], best["category"]) == (f"{category}-0003", category)
        assert best["score"] > 0.999
        assert best["metadata"]["title"]


def test_a_second_up_changes_nothing(sample: Stack) -> None:
    before, container = _snapshot_id(sample), sample.inspect("search")["Id"]
    sample.make("up")
    assert _snapshot_id(sample) == before
    assert sample.inspect("search")["Id"] == container


def test_a_killed_service_serves_the_same_snapshot_again(sample: Stack) -> None:
    before = _snapshot_id(sample)
    sample.compose("kill", "search")
    assert sample.inspect("search")["State"]["Running"] is False
    sample.compose("up", "--detach", "--wait")
    assert _snapshot_id(sample) == before


def test_what_was_taken_down_comes_up_again_with_its_snapshot(sample: Stack) -> None:
    before = _snapshot_id(sample)
    sample.make("down")
    assert sample.compose("ps", "--all", "--quiet") == ""
    sample.make("up")
    assert _snapshot_id(sample) == before


@pytest.mark.parametrize(
    ("service", "kept", "volume"), [("indexer", "feedback", "data"), ("search", "data", "feedback")]
)
def test_a_container_may_do_no_more_than_it_must(sample: Stack, service: str, kept: str, volume: str) -> None:
    def shell(script: str, *options: str) -> list[str]:
        command = ["run", "--rm", "--no-deps", "-T", *options, "--entrypoint", "sh", service, "-c", script]
        return sample.compose(*command).splitlines()

    assert shell("id -u; id -g") == ["10001", "10001"]
    assert shell(f"set -e; for place in /tmp /{volume}; do touch $place/written; rm $place/written; done") == []
    assert shell("for tool in gcc cc c++ g++ clang ld make cmake; do command -v $tool; done; true") == []
    status = dict(line.split(":\t") for line in shell("grep -E 'CapEff|NoNewPrivs' /proc/self/status"))
    assert status == {"CapEff": "0" * 16, "NoNewPrivs": "1"}
    # As root, whom file modes would not keep from it.
    places = ["/", "/parecido", "/venv", "/catalogue", f"/{kept}"]
    refused = shell(f"for place in {' '.join(places)}; do touch $place/written 2>&1; done; true", "--user", "0")
    assert len(refused) == len(places)
    assert all(line.endswith("Read-only file system") for line in refused), refused


def test_the_services_image_is_small_and_has_no_tensorflow(sample: Stack) -> None:
    assert sample.image("search")["Size"] < _SERVICE_IMAGE_BYTES
    names = ("tensorflow", "keras", "indexer", "faiss")
    find = f"import importlib.util as u; print(*[name for name in {names} if u.find_spec(name)])"
    assert sample.compose("exec", "-T", "search", "python", "-c", find).split() == ["faiss"]


# While it serves, in this order


def test_a_service_without_a_snapshot_is_unhealthy_until_there_is_one(shop: Stack, catalogue: Path) -> None:
    shop.wait_for_health("unhealthy")
    assert shop.fetch("/healthz")[0] == 200
    assert shop.fetch("/readyz")[0] == 503
    container = shop.inspect("search")["Id"]
    shop.compose("run", "--rm", "indexer")
    shop.wait_for_health("healthy")
    assert _search(shop, "mouse-0002")["hits"][0]["item_id"] == "mouse-0002"
    shop.make("up", f"CATALOGUE={os.path.relpath(catalogue, shop.directory)}")
    assert shop.inspect("search")["Id"] == container, "`make up` remembers another catalogue than it was given"


def test_a_reindex_is_taken_up_while_requests_run(shop: Stack, catalogue: Path, tmp_path: Path) -> None:
    before, container = _snapshot_id(shop), shop.inspect("search")
    image = (catalogue.parent / "images/watch/watch-0001.jpg").read_bytes()
    load = Load("127.0.0.1", shop.port, image, _CLIENTS, pause_s=1)  # or the job, which gives way, takes minutes
    load.start()
    try:
        more = render_catalogue(_opened(tmp_path), items=7, queries=0)
        shutil.copytree(more.parent, catalogue.parent, dirs_exist_ok=True)
        shop.compose("run", "--rm", "indexer")
        after = shop.wait_for_swap(before)
        wait_until("answers from the new snapshot", lambda: after in load.counts.answers)
    finally:
        counts = load.end()
    assert (counts.failed, counts.not_reached) == ([], [])
    assert counts.answers.keys() == {before, after}
    assert _search(shop, "bicycle-0007")["hits"][0]["item_id"] == "bicycle-0007"
    assert shop.inspect("search")["State"]["StartedAt"] == container["State"]["StartedAt"]


def test_a_job_that_fails_leaves_the_service_as_it_is(shop: Stack, tmp_path: Path) -> None:
    before, started = _snapshot_id(shop), shop.inspect("search")["State"]["StartedAt"]
    (shop.directory / "search_service" / "newer.py").touch()  # the service's image changes too
    shop.make("up", f"CATALOGUE={_opened(tmp_path)}", status=2)  # it is empty
    assert f"CATALOGUE='{tmp_path}'" in (shop.directory / ".env").read_text().splitlines()
    assert _snapshot_id(shop) == before
    assert shop.inspect("search")["State"]["StartedAt"] == started


def test_a_stop_under_load_fails_no_request(shop: Stack, catalogue: Path) -> None:
    # From a container: what the engine forwards a published port with takes connections that nobody listens for.
    files = {_LOAD: "/load.py", catalogue.parent / "images/watch/watch-0001.jpg": "/query.jpg"}
    mounts = [option for source, place in files.items() for option in ("--volume", f"{source}:{place}:ro")]
    run = ["docker", "compose", "run", "--rm", "--no-deps", "-T", *mounts, "--entrypoint", "python", "search"]
    command = [*run, "/load.py", "search", "8080", "/query.jpg", str(_CLIENTS)]
    with subprocess.Popen(command, cwd=shop.directory, env=shop.environment, stdout=subprocess.PIPE, text=True) as load:
        assert load.stdout.readline() == "running\n"
        shop.compose("stop", "search")
        counts = Counts(**json.loads(load.stdout.read()))
    assert counts.failed == []
    assert len(counts.not_reached) == _CLIENTS
    assert sum(counts.answers.values()) >= _CLIENTS
    assert shop.inspect("search")["State"]["ExitCode"] == 0
