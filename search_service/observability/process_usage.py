"""What the service's processes take of the machine, as Linux tells it in `/proc`; nothing elsewhere."""

import os
import threading
import time
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_LOOKS = 5
_FRESH_S = 1.0


@dataclass(frozen=True)
class Usage:
    """Of all workers.

    Attributes:
        memory_bytes: their decoders' too; what several share counts once.
        open_files: of the worker that has the most.
        cpu_s: since the service began, also of workers that have ended, but without decoders; None where no two looks
            agree.
    """

    memory_bytes: int
    open_files: int
    cpu_s: float | None


class UsageMeter:
    """Looks once a second at most: of a process that has gigabytes mapped a look takes long. Safe to use by threads."""

    def __init__(self) -> None:
        """Nothing was looked at yet."""
        self._lock = threading.Lock()
        self._seen: tuple[float, tuple[int, ...], Usage | None] | None = None

    def usage(self, workers: Collection[int], parent: int) -> Usage | None:
        """As `usage`, of no more than a second ago."""
        with self._lock:
            now_s, asked = time.monotonic(), tuple(workers)
            if self._seen is None or self._seen[1] != asked or now_s - self._seen[0] > _FRESH_S:
                self._seen = now_s, asked, usage(workers, parent)
            return self._seen[2]


def usage(workers: Collection[int], parent: int) -> Usage | None:
    """Look now.

    Args:
        workers: processes that run, or have just ended.
        parent: the process that forks them.
    """
    try:
        found = [(_memory_bytes(pid), len(os.listdir(_PROC / str(pid) / "fd"))) for pid in workers if _runs(pid)]
        cpu_s = _cpu_s(workers, parent)
    except (OSError, ValueError):  # no Linux, or a worker has ended between two looks
        return None
    decoders_bytes = sum(_decoders_bytes(pid) for pid in workers)
    return Usage(
        decoders_bytes + sum(memory for memory, _ in found), max((files for _, files in found), default=0), cpu_s
    )


def _runs(pid: int) -> bool:
    return (_PROC / str(pid) / "stat").exists()


def _memory_bytes(pid: int) -> int:
    """The proportional set size."""
    for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _decoders_bytes(pid: int) -> int:
    """Of all processes below a worker, which come and go."""
    total = 0
    for path in _PROC.glob(f"{pid}/task/*/children"):
        with suppress(OSError):
            below = [int(child) for child in path.read_text().split()]
            total += sum(_memory_bytes(child) + _decoders_bytes(child) for child in below)
    return total


def _cpu_s(workers: Collection[int], parent: int) -> float | None:
    """A worker's time becomes its parent's when it is reaped: counted meanwhile, it would be missing or there twice."""
    for _ in range(_LOOKS):
        own, of_children = _ticks(parent)
        ticks = own + of_children + sum(_ticks(pid)[0] for pid in workers if _runs(pid))
        if _ticks(parent)[1] == of_children:
            return ticks / os.sysconf("SC_CLK_TCK")
    return None


def _ticks(pid: int) -> tuple[int, int]:
    """Of the process, and of its children that were reaped: `utime` and `stime` of proc(5), `cutime` and `cstime`."""
    fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
