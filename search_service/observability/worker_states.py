"""What each worker serves, told to all of them: one file a worker, in a directory that they share.

prometheus_client has gauges for several processes, but what it showed once under a label, such as a snapshot's id, it
shows until its process ends. So a worker's state is a file instead: replaced whole at each change, and deleted when the
worker ends. See docs/decisions/0008-metrics.md. The process that forks the workers imports this module, so it must not
import prometheus_client.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class ServedSnapshot:
    """The snapshot that a worker serves.

    Attributes:
        snapshot_id: its id.
        created_s: when it was built, in seconds since 1970.
        since_s: when the worker began to serve it.
        items: category → how many items.
    """

    snapshot_id: str
    created_s: float
    since_s: float
    items: Mapping[str, int]


@dataclass(frozen=True)
class WorkerState:
    """How it is with one worker.

    Attributes:
        served: None where nothing is.
        is_refusing: whether the published snapshot was refused.
        is_opening: whether it is being opened.
        polled_s: when it last looked at what is published, in seconds since 1970; None before it has.
    """

    served: ServedSnapshot | None = None
    is_refusing: bool = False
    is_opening: bool = False
    polled_s: float | None = None


class WorkerStates:
    """The states of all workers that have one yet."""

    def __init__(self, directory: Path | None) -> None:
        """Share them in a directory; without one, this process is the only worker."""
        self._directory = directory
        self._own: WorkerState | None = None

    def put(self, state: WorkerState) -> None:
        """Tell the state of this process; one thread only may do this."""
        self._own = state
        if self._directory is not None:
            path = self._path(self._directory, os.getpid())
            beside = path.with_suffix(".new")
            beside.write_text(json.dumps(asdict(state)), encoding="utf-8")
            beside.replace(path)

    def remove(self, pid: int) -> None:
        """Drop the state of a process that has ended."""
        if self._directory is not None:
            path = self._path(self._directory, pid)
            path.unlink(missing_ok=True)
            path.with_suffix(".new").unlink(missing_ok=True)
            for gauges in self._directory.glob(f"gauge_live*_{pid}.db"):  # prometheus_client's
                gauges.unlink(missing_ok=True)

    def pids(self) -> list[int]:
        """The processes that `all` tells of."""
        if self._directory is None:
            return [os.getpid()]
        return sorted(int(path.stem.split("-")[1]) for path in self._directory.glob("worker-*.json"))

    def all(self) -> list[WorkerState]:
        """Every state there is."""
        if self._directory is None:
            return [] if self._own is None else [self._own]
        found = (_read(path) for path in sorted(self._directory.glob("worker-*.json")))
        return [state for state in found if state is not None]

    @staticmethod
    def _path(directory: Path, pid: int) -> Path:
        return directory / f"worker-{pid}.json"


def _read(path: Path) -> WorkerState | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:  # the worker has just ended
        return None
    served = content["served"]
    return WorkerState(**{**content, "served": ServedSnapshot(**served) if served else None})
