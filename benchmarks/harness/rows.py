"""Results: stored as JSON lines and printed as tables."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared import __version__

_RESULTS = Path(__file__).resolve().parents[1] / "results"


def store(name: str, smoke: bool, figures: Mapping[str, Any]) -> None:
    """Append a row to `results/<name>.jsonl`: figures, time, version, cores and load.

    Args:
        name: Name of the benchmark.
        smoke: True for smoke runs.
        figures: The measured figures.
    """
    _RESULTS.mkdir(exist_ok=True)
    row = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
        "smoke": smoke,
        "cores": os.cpu_count(),
        "load_1_min": os.getloadavg()[0],
        **figures,
    }
    path = _RESULTS / f"{name}.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")
    print(f"\nstored in benchmarks/results/{path.name}")


def read(name: str) -> list[dict[str, Any]]:
    """Return the stored rows, latest last."""
    path = _RESULTS / f"{name}.jsonl"
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def machine() -> str:
    """Return the name of the processor if the kernel reports it, else the architecture."""
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    names = [line.split(":", 1)[1].strip() for line in cpuinfo.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.machine()


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print a table whose first column is text; the others are aligned to the right."""
    shown = [[*header], *([_shown(cell) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in shown) for column in range(len(header))]
    print(f"\n{title}")
    for number, row in enumerate(shown):
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        print("  ".join([row[0].ljust(widths[0]), *cells]))
        if number == 0:
            print("  ".join("-" * width for width in widths))


def print_records(title: str, records: Sequence[Mapping[str, object]]) -> None:
    """Print records with the same keys, which become the column headers."""
    print_table(title, list(records[0]), [list(record.values()) for record in records])


def _shown(cell: object) -> str:
    if cell is None:
        return "–"
    if not isinstance(cell, float):
        return f"{cell:,}" if isinstance(cell, int) else str(cell)
    size = abs(cell)
    if 0 < size < 0.001:
        return f"{cell:.1e}"
    return f"{cell:.4f}" if size < 2 else f"{cell:,.2f}"
