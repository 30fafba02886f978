"""A virtual environment for each library that is measured, made once, with exact versions: they would clash in one."""

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
    """The packages with versions that `peers/versions.toml` names for a peer."""
    with (PEERS / "versions.toml").open("rb") as file:
        versions: dict[str, list[str]] = tomllib.load(file)
    return versions[peer]


def peer_python(peer: str, environments: Path) -> Path:
    """The interpreter of a peer's environment, which is made first if need be; ours is the one that runs this.

    Args:
        peer: a file in `peers/`.
        environments: where environments are kept; its name there changes with the versions.

    Raises:
        subprocess.CalledProcessError: pip could not install it.
    """
    if peer == OURS:
        return Path(sys.executable)
    directory = _directory(peer, environments)
    python = directory / "bin" / "python"
    if not installed(peer, environments):
        wanted = requirements(peer)
        print(f"installing {' '.join(wanted)}", flush=True)
        shutil.rmtree(directory, ignore_errors=True)
        directory.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([sys.executable, "-m", "venv", str(directory)], check=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted]
        subprocess.run(pip, check=True, env=os.environ | {"PIP_NO_INPUT": "1"})
        (directory / _DONE).touch()
    return python


def installed(peer: str, environments: Path) -> bool:
    """Whether its environment is there."""
    return (_directory(peer, environments) / _DONE).exists()


def _directory(peer: str, environments: Path) -> Path:
    told = "\n".join([sys.version, *requirements(peer)])
    return environments / f"{peer}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"
