"""A Milvus server on this machine, brought up by a launcher that lies beside the project."""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from indexer.snapshots.milvus_collections import connect

_LAUNCHER = Path(__file__).parents[4] / "shared" / "tools" / "milvus-bed.py"
ADDRESS = "milvus+http://127.0.0.1:19530"


class MilvusServer:
    """Its data stay over `kill` and `up`."""

    def __init__(self, directory: Path) -> None:
        if not _LAUNCHER.exists():
            pytest.skip(f"there is no launcher of Milvus at {_LAUNCHER}")
        self._directory = directory

    def up(self, **settings: str) -> None:
        """Unless it is up already, with settings of `milvus.yaml` that are changed: COMMON_SECURITY_TLSMODE='1'."""
        try:
            self._run("up", **settings)
        except AssertionError:
            # The launcher may look at the process while it has no name yet, and take it for ended; it finds it now.
            self._run("up", **settings)

    def kill(self) -> None:
        """SIGKILL, at once: a stop that is asked for takes Milvus 15 seconds."""
        self._run("kill")

    def _run(self, command: str, **settings: str) -> None:
        done = subprocess.run(
            [sys.executable, str(_LAUNCHER), command, str(self._directory)],
            env=os.environ | settings,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr + done.stdout


def drop_collections(store: str, prefix: str) -> None:
    """Those whose names begin so, with their aliases: a server may be kept for the next tests."""
    with closing(connect(store)) as connection:
        for name in connection.call("list_collections"):
            if name.startswith(prefix):
                for alias in connection.call("list_aliases", collection_name=name)["aliases"]:
                    connection.call("drop_alias", alias=alias)
                connection.call("drop_collection", collection_name=name)
