"""Memory, open files and processor time of the service, read from Linux's `/proc`. Not available on other systems."""

import os
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_MAX_ATTEMPTS = 5
_CACHE_S = 1.0


@dataclass(frozen=True)
class Usage:
    """Resource usage of all workers.

    Attributes:
        memory_bytes: of the workers and their decoders; shared memory counts once.
        open_files: of the worker with the most.
        cpu_s: since the service started, including workers that have ended but not decoders; None if no consistent
            reading was possible.
    """

    memory_bytes: int
    open_files: int
    cpu_s: float | None


class UsageMeter:
    """Reads the usage at most once a second: reading is slow for processes that map gigabytes. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cached: tuple[float, tuple[int, ...], Usage | None] | None = None

    def usage(self, workers: Collection[int], parent: int) -> Usage | None:
        """Return the usage, at most a second old; see the function `usage`."""
        with self._lock:
            now_s, pids = time.monotonic(), tuple(workers)
            if self._cached is None or self._cached[1] != pids or now_s - self._cached[0] > _CACHE_S:
                self._cached = now_s, pids, usage(workers, parent)
            return self._cached[2]


def usage(workers: Collection[int], parent: int) -> Usage | None:
    """Read the current usage; None if `/proc` is not available or a worker ends meanwhile.

    Args:
        workers: ids of processes that run or have just ended.
        parent: id of the process that forks them.
    """
    try:
        readings = [(_memory_bytes(pid), len(os.listdir(_PROC / str(pid) / "fd"))) for pid in workers if _runs(pid)]
        cpu_s = _cpu_s(workers, parent)
    except (OSError, ValueError):  # not Linux, or a worker has ended between two reads
        return None
    decoders_bytes = sum(_decoders_bytes(pid) for pid in workers)
    return Usage(
        decoders_bytes + sum(memory for memory, _ in readings), max((files for _, files in readings), default=0), cpu_s
    )


def _runs(pid: int) -> bool:
    return (_PROC / str(pid) / "stat").exists()


def _memory_bytes(pid: int) -> int:
    """Return the proportional set size."""
    for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _decoders_bytes(pid: int) -> int:
    """Return the memory of all descendants of a worker; those that end meanwhile are skipped."""
    total = 0
    for path in _PROC.glob(f"{pid}/task/*/children"):
        with suppress(OSError):
            children = [int(child) for child in path.read_text().split()]
            total += sum(_memory_bytes(child) + _decoders_bytes(child) for child in children)
    return total


def _cpu_s(workers: Collection[int], parent: int) -> float | None:
    """Return the processor time; None if a worker was reaped during each attempt.

    Reaping adds a worker's time to its parent's, so a reading meanwhile could count it twice or not at all.
    """
    for _ in range(_MAX_ATTEMPTS):
        own, of_children = _ticks(parent)
        ticks = own + of_children + sum(_ticks(pid)[0] for pid in workers if _runs(pid))
        if _ticks(parent)[1] == of_children:
            return ticks / os.sysconf("SC_CLK_TCK")
    return None


def _ticks(pid: int) -> tuple[int, int]:
    """Return the clock ticks of a process and of its reaped children: utime + stime, cutime + cstime of proc(5)."""
    fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
