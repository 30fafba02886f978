"""The state of each worker, shared with all workers: one file per worker in a common directory.

A multiprocess gauge of prometheus_client keeps every label it ever had, such as a snapshot's id, until its process
ends. So a worker's state is a JSON file instead: replaced atomically at each change, and deleted when the worker ends.
See docs/decisions/0008-metrics.md. The process that forks the workers imports this module, so it must not import
prometheus_client.
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
        created_s: when it was built, in seconds since 1970.
        since_s: when the worker began to serve it, in seconds since 1970.
        items: number of items of each category.
    """

    snapshot_id: str
    created_s: float
    since_s: float
    items: Mapping[str, int]


@dataclass(frozen=True)
class WorkerState:
    """The state of one worker.

    Attributes:
        served: the served snapshot; None before there is one.
        is_rejecting: True if the published snapshot was rejected.
        is_opening: True while a snapshot is being opened.
        polled_s: time of the last check for a published snapshot, in seconds since 1970; None before the first one.
    """

    served: ServedSnapshot | None = None
    is_rejecting: bool = False
    is_opening: bool = False
    polled_s: float | None = None


class WorkerStates:
    """The states of all workers that have reported one."""

    def __init__(self, directory: Path | None) -> None:
        """Share the states in a directory; None if this process is the only worker."""
        self._directory = directory
        self._own: WorkerState | None = None

    def put(self, state: WorkerState) -> None:
        """Publish the state of this process; to be called by one thread only."""
        self._own = state
        if self._directory is not None:
            path = self._path(self._directory, os.getpid())
            temporary = path.with_suffix(".new")
            temporary.write_text(json.dumps(asdict(state)), encoding="utf-8")
            temporary.replace(path)

    def remove(self, pid: int) -> None:
        """Delete the state of a process that has ended."""
        if self._directory is not None:
            path = self._path(self._directory, pid)
            path.unlink(missing_ok=True)
            path.with_suffix(".new").unlink(missing_ok=True)
            for gauges in self._directory.glob(f"gauge_live*_{pid}.db"):  # prometheus_client's
                gauges.unlink(missing_ok=True)

    def pids(self) -> list[int]:
        """Return the ids of the processes that have a state."""
        if self._directory is None:
            return [os.getpid()]
        return sorted(int(path.stem.split("-")[1]) for path in self._directory.glob("worker-*.json"))

    def all(self) -> list[WorkerState]:
        """Return the state of every worker."""
        if self._directory is None:
            return [] if self._own is None else [self._own]
        states = (_read(path) for path in sorted(self._directory.glob("worker-*.json")))
        return [state for state in states if state is not None]

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
