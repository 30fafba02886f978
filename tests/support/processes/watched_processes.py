"""Processor time and memory of a process and its descendants (Linux: reads /proc)."""

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from tests.support.processes.process_memory import children

_LOOK_S = 0.01
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Watched:
    """A block of code, and a process that works for it meanwhile.

    Attributes:
        cpu_s: of the process and all that come from it, also of those that have died and been reaped; of this process
            only the thread of the block counts.
        peak_bytes: of their memory.
        growth_bytes: from before to the peak.
    """

    def __init__(self, process: int | None = None) -> None:
        """Prepare.

        Args:
            process: by default this one.
        """
        self._process = process or os.getpid()

    def __enter__(self) -> "Watched":
        self.cpu_s = -self._used_s()
        before = self.peak_bytes = memory_bytes(self._process)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        self.growth_bytes = -before
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        self._thread.join()
        self.cpu_s += self._used_s()
        self.growth_bytes += self.peak_bytes

    def _look(self) -> None:
        while not self._ends.wait(_LOOK_S):
            self.peak_bytes = max(self.peak_bytes, memory_bytes(self._process))

    def _used_s(self) -> float:
        ticks = 0
        for process in _family(self._process):
            with suppress(OSError):
                fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
                ticks += sum(map(int, fields[11:15])) if process != os.getpid() else 0
        return ticks / os.sysconf("SC_CLK_TCK") + (time.thread_time() if self._process == os.getpid() else 0.0)


def memory_bytes(process: int) -> int:
    """Resident memory of a process and its descendants; what several share counts for each, which is quick to read."""
    total = 0
    for member in _family(process):
        with suppress(OSError):  # it has ended meanwhile
            total += int(Path(f"/proc/{member}/statm").read_text().split()[1])
    return total * _PAGE_BYTES


def _family(process: int) -> list[int]:
    members = [process]
    for member in members:
        with suppress(OSError):
            members += children(member)
    return members
