"""Dockerfile, compose file and what they copy against each other, without an engine; tests/compose runs them."""

import json
import os
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from gunicorn.config import Config

from search_service.settings import ServiceSettings

_ROOT = Path(__file__).parents[1]
_DOCKERFILE = (_ROOT / "Dockerfile").read_text(encoding="utf-8")
_SERVICES: dict[str, Any] = yaml.safe_load((_ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]


def _stages() -> dict[str, str]:
    """The Dockerfile's stages by name."""
    parts = re.split(r"^FROM \S+ AS (\S+)\n", _DOCKERFILE, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


# These run as their makers tell: nobody here has tried them with less.
_AS_TOLD = ("etcd", "minio", "milvus")


@pytest.mark.parametrize("name", [name for name in _SERVICES if name not in _AS_TOLD])
def test_every_container_is_confined(name: str) -> None:
    service = _SERVICES[name]
    assert service["read_only"] is True
    assert service["init"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    if "build" in service:
        assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", _stages()[service["build"]["target"]], re.MULTILINE)


@pytest.mark.parametrize("name", _SERVICES)
def test_every_container_is_a_version_and_reached_from_this_machine_alone(name: str) -> None:
    service = _SERVICES[name]
    if "build" not in service:
        version = r":(v?\d+\.\d+\.\d+|RELEASE\.\d{4}-\d\d-\d\dT\d\d-\d\d-\d\dZ)$"
        assert re.search(version, service["image"]), "another version tomorrow"
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


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
    wanted += [one for extra in ("milvus", "parquet") for one in project["optional-dependencies"][extra]]
    constraints = (_ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    pinned = {line.split("==")[0].lower().replace("_", "-") for line in constraints}
    assert {re.split("[=<>]", name)[0] for name in wanted} <= pinned
    installs = re.findall(r"pip .*install.*", _DOCKERFILE)
    assert len(installs) == 2
    assert all("-c constraints.txt" in line for line in installs)


# Profiles


def _compose(*arguments: str) -> dict[str, Any]:
    """What compose makes of the file; it needs no engine for that."""
    try:
        version = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("THE COMPOSE FILE WAS NOT READ BY COMPOSE: there is no `docker` here")
    if version.returncode != 0:
        pytest.skip("THE COMPOSE FILE WAS NOT READ BY COMPOSE: `docker compose` is missing")
    environment = {name: value for name, value in os.environ.items() if name != "COMPOSE_FILE"}
    done = subprocess.run(
        ["docker", "compose", *arguments, "config", "--format", "json"],
        cwd=_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    config: dict[str, Any] = json.loads(done.stdout)
    return config["services"]


def test_nothing_is_started_besides_the_two_without_a_profile() -> None:
    assert _compose().keys() == {"indexer", "search"}


def test_the_profile_monitoring_mounts_what_is_here() -> None:
    services = _compose("--profile", "monitoring")
    assert {"prometheus", "grafana"} <= services.keys()
    for name in ("prometheus", "grafana"):
        for volume in services[name]["volumes"]:
            assert volume["type"] == "volume" or Path(volume["source"]).exists()


def test_the_profile_milvus_is_a_server_that_keeps_its_data_and_is_reached_from_this_machine_alone() -> None:
    services = _compose("--profile", "milvus")
    assert {"etcd", "minio", "milvus"} <= services.keys()
    assert services["milvus"]["depends_on"].keys() == {"etcd", "minio"}
    assert all(services[name]["volumes"][0]["type"] == "volume" for name in ("etcd", "minio", "milvus"))
    assert [(port["host_ip"], port["target"]) for port in services["milvus"]["ports"]] == [("127.0.0.1", 19530)]
    assert not any("ports" in services[name] for name in ("etcd", "minio"))


def test_the_service_is_limited() -> None:
    search = _SERVICES["search"]
    assert search["mem_limit"] == "${SEARCH_MEMORY:-2g}"
    assert search["cpus"] == "${SEARCH_CPUS:-0}"
    settings = ServiceSettings()
    n_threads = 2 * (settings.slots + settings.queue + settings.threads)
    assert search["pids_limit"] > 8 * settings.workers * n_threads, "threads count too"
    [tmp] = search["tmpfs"]
    assert re.fullmatch(r"/tmp:size=\d+m", tmp)
    assert int(re.sub(r"\D", "", tmp)) * 1024 * 1024 >= settings.max_held_bytes


_PASSWORDS = {"MINIO_PASSWORD": "a-password-of-minio", "PARECIDO_MILVUS_PASSWORD": "a-password-of-milvus"}


def _environment_of(name: str, **given: str) -> dict[str, str]:
    """The environment of a container, with what .env would give."""

    def value(found: re.Match[str]) -> str:
        return given.get(found[1]) or found[2] or ""

    variables = _SERVICES[name]["environment"]
    return {key: re.sub(r"\$\{(\w+)(?::?-([^}]*))?\}", value, text or "") for key, text in variables.items()}


def _start(name: str, directory: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a container's entry point here, with programs that only say their names."""
    for program in ("minio", "milvus"):
        (directory / program).write_text('#!/bin/sh\necho "$0 $*"\n')
        (directory / program).chmod(0o755)
    command = [part.replace("$$", "$") for part in _SERVICES[name]["entrypoint"]]
    path = f"{directory}:{os.environ['PATH']}"
    return subprocess.run(command, env=environment | {"PATH": path}, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", ["minio", "milvus"])
def test_milvus_and_minio_do_not_start_without_passwords_and_say_which(name: str, tmp_path: Path) -> None:
    needed = [one for one in _PASSWORDS if name == "milvus" or one == "MINIO_PASSWORD"]
    for missing in needed:
        done = _start(name, tmp_path, _environment_of(name, **{**_PASSWORDS, missing: ""}))
        assert done.returncode != 0
        assert missing in done.stderr
        assert done.stdout == ""
    done = _start(name, tmp_path, _environment_of(name, **_PASSWORDS))
    assert (done.returncode, done.stderr) == (0, "")
    assert f"/{name} " in done.stdout


def test_there_are_no_default_passwords() -> None:
    text = (_ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert "minioadmin" not in text
    assert not re.search(r"\$\{\w*(?:PASSWORD|TOKEN|SECRET)\w*:?-[^}]", text)
    assert not re.search(r"(?<!\$)\$\{\w+:?\?", text), "it would stop every command, also where the profile is off"
    with_passwords = _environment_of("milvus", **_PASSWORDS)
    assert with_passwords["COMMON_SECURITY_AUTHORIZATIONENABLED"] == "true"
    assert with_passwords["COMMON_SECURITY_DEFAULTROOTPASSWORD"] == _PASSWORDS["PARECIDO_MILVUS_PASSWORD"]
    assert with_passwords["MINIO_SECRET_ACCESS_KEY"] == _PASSWORDS["MINIO_PASSWORD"]
    assert _environment_of("minio", **_PASSWORDS)["MINIO_ROOT_PASSWORD"] == _PASSWORDS["MINIO_PASSWORD"]


def test_milvus_has_none_of_the_holes_of_earlier_versions() -> None:
    major, minor, patch = map(int, re.findall(r"\d+", _SERVICES["milvus"]["image"].partition(":v")[2]))
    assert (major, minor) == (2, 6)
    assert patch >= 10


def test_indexer_and_service_get_milvus_credentials_and_nobody_else_s() -> None:
    names = {"PARECIDO_MILVUS_USER", "PARECIDO_MILVUS_PASSWORD", "PARECIDO_MILVUS_TOKEN"}
    assert _SERVICES["indexer"]["environment"] == dict.fromkeys(names), "from .env, and not set where it has none"
    assert _SERVICES["search"]["env_file"] == [{"path": ".env", "required": False}]
    assert _SERVICES["search"]["environment"] == {"MINIO_PASSWORD": ""}


def test_prometheus_scrapes_the_service_by_its_name_and_grafana_asks_prometheus() -> None:
    deploy = _ROOT / "deploy"
    scraped, example = (
        yaml.safe_load((deploy / "prometheus" / name).read_text(encoding="utf-8"))
        for name in ("compose.yml", "prometheus.yml")
    )
    port = re.search(r"PARECIDO_PORT=(\d+)", _stages()["service"])[1]
    assert scraped["scrape_configs"][0].pop("static_configs") == [{"targets": [f"search:{port}"]}]
    example["scrape_configs"][0].pop("static_configs")
    assert scraped == example
    [command, _] = _SERVICES["prometheus"]["command"]
    assert command.endswith("/compose.yml")
    provisioning = deploy / "grafana" / "provisioning"
    [source] = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert source["url"] == "http://prometheus:9090"
    [provider] = yaml.safe_load((provisioning / "dashboards" / "parecido.yml").read_text())["providers"]
    home = _SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/parecido.json"
    assert any(volume.endswith(f":{home}:ro") for volume in _SERVICES["grafana"]["volumes"])
