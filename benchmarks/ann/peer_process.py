"""Client of a library that runs in its own process (`peers/serve.py`)."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.ann.environments import OURS, PEERS
from benchmarks.harness.options import REPOSITORY
from tests.support.processes.process_memory import family_mb

# Limits every kind of threads: a search uses one thread, since a service runs many searches in parallel.
_ONE_THREAD = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "RAYON_NUM_THREADS",
        "TOKIO_WORKER_THREADS",
        "LANCE_CPU_THREADS",
        "LANCE_IO_THREADS",
    ),
    "1",
)
_END_S = 10


class PeerFailed(Exception):
    """The library reported an error, or its process ended."""


class PeerProcess:
    """A process that holds one library."""

    def __init__(self, python: Path, peer: Path, one_thread: bool, log: Path) -> None:
        """Start the process.

        Args:
            python: Interpreter of the library's environment.
            peer: Module of the library, as in `peers/`.
            one_thread: True for searches; a build may use all cores.
            log: Receives the library's output.
        """
        environment = {**os.environ, "PYTHONPATH": str(REPOSITORY) if peer.stem == OURS else ""}
        environment |= _ONE_THREAD if one_thread else {}
        with log.open("a") as printed:
            self._process = subprocess.Popen(
                [str(python), "-P", str(PEERS / "serve.py"), str(peer)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=printed,
                text=True,
                env=environment,
                cwd=log.parent,
            )
        self._log = log

    def ask(self, what: str, **arguments: Any) -> dict[str, Any]:
        """Send a request and wait for the answer.

        Raises:
            PeerFailed: The request failed.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise PeerFailed(f"the process ended with {self._process.wait()}: {_last_line(self._log)}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PeerFailed(answer["error"])
        return answer

    def memory_mb(self) -> dict[str, float]:
        """`Pss` and `Rss` of the process and its children."""
        return family_mb(self._process.pid)

    def end(self) -> None:
        """Stop the process; kill it if it does not stop in time."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()


@contextmanager
def peer_process(python: Path, peer: Path, one_thread: bool, log: Path) -> Iterator[PeerProcess]:
    """Run a `PeerProcess` until the block is left; same arguments."""
    process = PeerProcess(python, peer, one_thread, log)
    try:
        yield process
    finally:
        process.end()


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").split("\n")
    return next((line for line in reversed(lines) if line.strip()), "it printed nothing")
