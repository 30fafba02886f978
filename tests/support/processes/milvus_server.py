"""A Milvus server on this machine, which the program that MILVUS_LAUNCHER names starts and kills.

It is run by this Python: `MILVUS_LAUNCHER up DIRECTORY` starts a server at `ADDRESS` that keeps its data in the
directory, and returns when it answers; `MILVUS_LAUNCHER kill DIRECTORY` kills it. Neither fails where it runs, or not.
"""

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from indexer.snapshots.milvus_collections import connect

_LIMIT_S = 300
ADDRESS = "milvus+http://127.0.0.1:19530"


class MilvusServer:
    """Its data stay over `kill` and `up`."""

    def __init__(self, directory: Path) -> None:
        launcher = os.environ.get("MILVUS_LAUNCHER", "")
        if not Path(launcher).is_file():
            pytest.skip("NOT TESTED WITH A MILVUS SERVER: MILVUS_LAUNCHER names no program that starts one")
        self._launcher = Path(launcher).resolve()
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
            [sys.executable, self._launcher, command, self._directory],
            env=os.environ | settings,
            capture_output=True,
            text=True,
            check=False,
            timeout=_LIMIT_S,
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
