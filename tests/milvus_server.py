"""A Milvus server on this machine, brought up by a launcher that lies beside the project."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_LAUNCHER = Path(__file__).parents[2] / "shared" / "tools" / "milvus-bed.py"
ADDRESS = "milvus+http://127.0.0.1:19530"


class MilvusServer:
    """Its data stay over `kill` and `up`."""

    def __init__(self, directory: Path) -> None:
        if not _LAUNCHER.exists():
            pytest.skip(f"there is no launcher of Milvus at {_LAUNCHER}")
        self._directory = directory

    def up(self, **settings: str) -> None:
        """Unless it is up already, with settings of `milvus.yaml` that are changed: COMMON_SECURITY_TLSMODE='1'."""
        self._run("up", **settings)

    def kill(self) -> None:
        """SIGKILL."""
        self._run("kill")

    def down(self) -> None:
        self._run("down")

    def _run(self, command: str, **settings: str) -> None:
        done = subprocess.run(
            [sys.executable, str(_LAUNCHER), command, str(self._directory)],
            env=os.environ | settings,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout
