"""A Ray cluster of several nodes on this machine's loopback, each with raylet and workers of its own, to be killed."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[3]
_START_S = 180.0  # machines that do other work take long
_STOP_S = 30.0
_OBJECT_STORE_BYTES = 200_000_000


@dataclass
class RayCluster:
    """Nodes, the head being the first.

    Attributes:
        port: where the head listens, on 127.0.0.1.
        temporary: the head's directory for sockets and logs.
        nodes: the processes that hold a node's together.
    """

    port: int
    temporary: Path
    nodes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """For `--ray-address`."""
        return f"127.0.0.1:{self.port}"

    def add_node(self, cpus: int) -> None:
        """Start another node at an address of its own, and wait until the cluster has it."""
        number = len(self.nodes) + 1
        told = [f"--node-ip-address=127.0.0.{number}", f"--num-cpus={cpus}", "--block", "--disable-usage-stats"]
        told.append(f"--object-store-memory={_OBJECT_STORE_BYTES}")
        if number == 1:
            told += ["--head", f"--port={self.port}", "--include-dashboard=false", f"--temp-dir={self.temporary}"]
        else:
            told.append(f"--address={self.address}")
        ray = Path(sys.executable).with_name("ray")
        log = (self.temporary / f"node-{number}.log").open("wb")
        self.nodes.append(
            subprocess.Popen([ray, "start", *told], env=environment(), cwd=_ROOT, stdout=log, stderr=subprocess.STDOUT)
        )
        deadline = time.monotonic() + _START_S
        while not any(name == "raylet" for _, name in self._processes(self.nodes[-1])):
            if time.monotonic() > deadline or self.nodes[-1].poll() is not None:
                raise RuntimeError(f"node {number} did not start:\n{Path(log.name).read_text(errors='replace')}")
            time.sleep(0.2)
        log.close()

    def kill_raylet(self, number: int) -> None:
        """SIGKILL what runs a node's workers; `number` is from 1."""
        [raylet] = [pid for pid, name in self._processes(self.nodes[number - 1]) if name == "raylet"]
        os.kill(raylet, signal.SIGKILL)

    def kill_raylet_at(self, task: str) -> None:
        """SIGKILL a raylet while a worker of its own runs a task (`Class.method`), and that worker with it.

        Raises:
            RuntimeError: no worker does so for a long time.
        """
        deadline, title = time.monotonic() + _START_S, f"ray::{task}"
        while time.monotonic() < deadline:
            for number, node in enumerate(self.nodes, 1):
                for pid, _ in self._processes(node):
                    if _title(pid) == title and _is_held_at(pid, title):
                        self.kill_raylet(number)
                        os.kill(pid, signal.SIGKILL)
                        return
            time.sleep(0.01)
        raise RuntimeError(f"no worker ran {task} within {_START_S:.0f} s")

    def stop(self) -> None:
        """SIGKILL everything that was started here."""
        for node in reversed(self.nodes):
            for pid, _ in [*self._processes(node), (node.pid, "")]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            node.wait(_STOP_S)

    @staticmethod
    def _processes(node: subprocess.Popen[bytes]) -> list[tuple[int, str]]:
        """Pids and names of a node's processes."""
        found = []
        pids = [node.pid]
        while pids:
            for child in _children(pids.pop()):
                with suppress(OSError):
                    found.append((child, Path(f"/proc/{child}/comm").read_text(encoding="utf-8").strip()))
                pids.append(child)
        return found


def environment(**more: str) -> dict[str, str]:
    """For nodes and drivers."""
    return {**os.environ, "PYTHONPATH": str(_ROOT), "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", **more}


def _title(pid: int) -> str:
    """What a process calls itself: Ray's workers say what they are at."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace").strip("\0 ")
    return ""


def _is_held_at(pid: int, title: str) -> bool:
    """Stop a process; it runs on if it is at something else by then."""
    os.kill(pid, signal.SIGSTOP)
    while not Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].startswith(" T"):
        time.sleep(0.001)
    if _title(pid) == title:
        return True
    os.kill(pid, signal.SIGCONT)
    return False


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, thread.read_text(encoding="utf-8").split())
    return found


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        name: Any = free.getsockname()
        return int(name[1])


@contextmanager
def ray_cluster(*cpus: int) -> Iterator[RayCluster]:
    """A cluster whose nodes have so many cores each; its processes are gone afterwards."""
    # Sockets lie in it, whose paths may have 107 characters.
    temporary = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))
    cluster = RayCluster(_free_port(), temporary)
    try:
        for count in cpus:
            cluster.add_node(count)
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(temporary, ignore_errors=True)
