"""Virtual environments of the measured libraries, one each with pinned versions, since they conflict in one."""

import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

from benchmarks.harness.options import REPOSITORY

PEERS = REPOSITORY / "benchmarks" / "ann" / "peers"
OURS = "parecido"
_DONE = ".installed"


def requirements(peer: str) -> list[str]:
    """Return the pinned requirements of a peer from `peers/versions.toml`."""
    with (PEERS / "versions.toml").open("rb") as file:
        versions: dict[str, list[str]] = tomllib.load(file)
    return versions[peer]


def peer_python(peer: str, environments: Path) -> Path:
    """Return the interpreter of a peer's environment, creating it if needed; for Parecido the current interpreter.

    Args:
        peer: Name of a module in `peers/`.
        environments: Directory of the environments, whose names depend on the versions.

    Raises:
        subprocess.CalledProcessError: pip failed.
    """
    if peer == OURS:
        return Path(sys.executable)
    directory = _directory(peer, environments)
    python = directory / "bin" / "python"
    if not installed(peer, environments):
        packages = requirements(peer)
        print(f"installing {' '.join(packages)}", flush=True)
        shutil.rmtree(directory, ignore_errors=True)
        directory.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
        subprocess.run(pip, check=True, env=os.environ | {"PIP_NO_INPUT": "1"})
        (directory / _DONE).touch()
    return python


def installed(peer: str, environments: Path) -> bool:
    """Return True if the peer's environment exists."""
    return (_directory(peer, environments) / _DONE).exists()


def _directory(peer: str, environments: Path) -> Path:
    key = "\n".join([sys.version, *requirements(peer)])
    return environments / f"{peer}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
