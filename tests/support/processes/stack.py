"""A compose project of its own: from a copy of the files, under a name and on a port that nobody else has."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.processes.http_calls import fetch

_ROOT = Path(__file__).parents[3]
_PARTS = ("Dockerfile", ".dockerignore", "docker-compose.yml", "Makefile", "pyproject.toml", "constraints.txt")
_PACKAGES = ("shared", "indexer", "search_service", "examples")
_WAIT_S = 120.0


@dataclass(frozen=True)
class Stack:
    """What a user has after `make up`."""

    directory: Path
    port: int
    environment: dict[str, str]

    def run(self, *command: str, status: int = 0) -> str:
        """Standard output of a command in the project's directory; it has to end with this status."""
        done = subprocess.run(
            command, cwd=self.directory, env=self.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == status, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def make(self, *arguments: str, status: int = 0) -> str:
        return self.run("make", *arguments, status=status)

    def compose(self, *arguments: str, status: int = 0) -> str:
        return self.run("docker", "compose", *arguments, status=status)

    def inspect(self, service: str) -> dict[str, Any]:
        """What the engine says of a service's container, running or not."""
        container = self.compose("ps", "--all", "--quiet", service).strip()
        return json.loads(self.run("docker", "inspect", container))[0]

    def image(self, service: str) -> dict[str, Any]:
        """What the engine says of a service's image."""
        return json.loads(
            self.run("docker", "image", "inspect", f"{self.environment['COMPOSE_PROJECT_NAME']}-{service}")
        )[0]

    def fetch(self, path: str, body: dict | None = None) -> tuple[int, bytes]:
        """Status and content, over the published port."""
        return fetch(self.port, path, body, _WAIT_S)

    def ask(self, path: str, body: dict | None = None) -> Any:
        """The JSON of a good answer."""
        status, content = self.fetch(path, body)
        assert status == 200, content
        return json.loads(content)

    def wait_for_health(self, wanted: str) -> None:
        """Until the engine calls the service `healthy` or `unhealthy`."""
        wait_until(wanted, lambda: self.inspect("search")["State"]["Health"]["Status"] == wanted)

    def wait_for_swap(self, before: str) -> str:
        """The id of what is served when no worker serves the snapshot `before` any more."""
        wait_until(f"{before} left", lambda: before.encode() not in self.fetch("/metrics")[1])
        return self.ask("/readyz")["snapshot_id"]


def wait_until(what: str, holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not holds():
        assert time.monotonic() < deadline, f"not within {_WAIT_S} s: {what}"
        time.sleep(0.2)


@contextmanager
def stack(directory: Path) -> Iterator[Stack]:
    """Nothing is started yet; whatever was is removed at the end, with its volumes and images."""
    for name in _PARTS:
        shutil.copy(_ROOT / name, directory / name)
    for name in _PACKAGES:
        shutil.copytree(_ROOT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    given = {
        name: value for name, value in os.environ.items() if not name.startswith(("PARECIDO_", "CATALOGUE", "MAKE"))
    }
    name = f"parecido-test-{secrets.token_hex(4)}"
    made = Stack(directory, port, given | {"COMPOSE_PROJECT_NAME": name, "PORT": str(port)})
    try:
        yield made
    finally:
        made.compose("down", "--volumes", "--rmi", "local", "--remove-orphans", "--timeout", "5")
