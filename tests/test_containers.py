"""Dockerfile, compose file and what they copy against each other, without an engine; tests/compose runs them."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from gunicorn.config import Config

_ROOT = Path(__file__).parents[1]
_DOCKERFILE = (_ROOT / "Dockerfile").read_text(encoding="utf-8")
_SERVICES: dict[str, Any] = yaml.safe_load((_ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]


def _stages() -> dict[str, str]:
    """The Dockerfile's stages by name."""
    parts = re.split(r"^FROM \S+ AS (\S+)\n", _DOCKERFILE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("name", _SERVICES)
def test_every_container_is_confined(name: str) -> None:
    service = _SERVICES[name]
    assert service["read_only"] is True
    assert service["init"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", _stages()[service["build"]["target"]], re.MULTILINE)


def test_both_see_the_catalogue_at_one_place_and_each_writes_what_the_other_reads() -> None:
    indexer, search = (set(_SERVICES[name]["volumes"]) for name in ("indexer", "search"))
    [shared] = indexer & search
    assert shared.endswith(":/catalogue:ro")
    assert indexer - search == {"data:/data", "feedback:/feedback:ro"}
    assert search - indexer == {"data:/data:ro", "feedback:/feedback"}


def test_the_service_has_longer_to_stop_than_its_requests_have_to_end() -> None:
    assert int(_SERVICES["search"]["stop_grace_period"].removesuffix("s")) > Config().graceful_timeout


def test_each_image_has_the_packages_that_it_may_have() -> None:
    copied = {
        name: set(re.findall(r"^COPY (\w+) /parecido/\1$", stage, re.MULTILINE)) for name, stage in _stages().items()
    }
    assert (copied["indexer"], copied["service"]) == ({"shared", "indexer"}, {"shared", "search_service"})


def test_what_is_copied_reaches_the_build_and_nothing_else_does() -> None:
    ignored, *rest = (_ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    let_through = {line.removeprefix("!") for line in rest if line.startswith("!")}
    sources = re.findall(r"^COPY (?!--from)(.+) \S+$", _DOCKERFILE, re.MULTILINE)
    assert ignored == "*"
    assert {name for line in sources for name in line.split()} == let_through
    assert all((_ROOT / name).exists() for name in let_through)


def test_every_version_in_an_image_is_pinned() -> None:
    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["indexer"]]
    constraints = (_ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in constraints}
    assert {re.split("[=<>]", name)[0] for name in wanted} <= pinned
    installs = re.findall(r"pip .*install.*", _DOCKERFILE)
    assert len(installs) == 2
    assert all("-c constraints.txt" in line for line in installs)
