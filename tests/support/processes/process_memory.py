"""How much memory processes have resident (Linux: it is read from /proc)."""

import re
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")


def children(pid: int) -> list[int]:
    """The processes that a process started, from any thread, and that still run."""
    found: list[int] = []
    for path in _PROC.glob(f"{pid}/task/*/children"):
        with suppress(OSError):  # the thread has ended meanwhile
            found += map(int, path.read_text().split())
    return found


def memory_mb(pid: int) -> dict[str, float]:
    """Megabytes of one process: `Rss`, and `Pss`, which counts what several processes share by each one's share."""
    text = (_PROC / str(pid) / "smaps_rollup").read_text()
    return {name: _kilobytes(text, name) / 1024 for name in ("Rss", "Pss")}


def family_mb(pid: int) -> dict[str, float]:
    """The same, summed over a process and all that come from it."""
    total = memory_mb(pid)
    for child in children(pid):
        total = {name: size + total[name] for name, size in family_mb(child).items()}
    return total


def available_mb() -> float:
    """What is left for new processes before something has to go."""
    return _kilobytes((_PROC / "meminfo").read_text(), "MemAvailable") / 1024


def _kilobytes(text: str, name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", text, re.MULTILINE)
    assert found is not None, f"no {name} in {text!r}"
    return int(found[1])
