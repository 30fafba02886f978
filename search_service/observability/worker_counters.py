"""The counts of all workers: each maps files of its own into memory, and what one leaves when it ends is kept in one.

prometheus_client's files of workers that have ended would stay for ever, and a scrape reads them all. So the process
that forks the workers adds them up whenever one has ended. A lock keeps a scrape from seeing a count twice, or never.

The process that forks imports this module, so prometheus_client is imported where it is used: it looks at the
environment when it is imported. See docs/decisions/0008-metrics.md.
"""

import errno
import fcntl
import os
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from shared.errors import Overloaded
from shared.files.file_lock import lock_within

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

ENDED = "parecido_workers_ended"
ENDED_HELP = "Workers that have ended, replaced or killed."
_ENDED_KIND = "counter"
_KEPT_KINDS = frozenset(("counter", "histogram", "summary"))
# What prometheus_client needs for a value beside its key is less.
_ROOM_BYTES = 64
_SCRAPE_WAIT_S = 2.0  # adding up takes milliseconds


class WorkerCounters:
    """In a directory that the workers share."""

    def __init__(self, directory: Path) -> None:
        """Nothing is read or made yet.

        Args:
            directory: the one in `PROMETHEUS_MULTIPROC_DIR`.
        """
        self._directory = directory
        self._n_ended = 0

    def collect(self) -> "list[Metric]":
        """Every counter and histogram, over all workers.

        Raises:
            Overloaded: another process keeps the counts locked.
        """
        from prometheus_client.multiprocess import MultiProcessCollector

        try:
            with self._locked(fcntl.LOCK_SH, _SCRAPE_WAIT_S):
                # A file is empty for a moment, when its worker has just begun.
                files = [str(path) for path in self._directory.glob("*.db") if path.stat().st_size > 0]
                return list(MultiProcessCollector.merge(files))  # type: ignore[no-untyped-call]
        except BlockingIOError as error:
            raise Overloaded(str(error.strerror)) from error

    def merge_ended(self, alive: Collection[int]) -> None:
        """Add up what workers have left; called once for each that has ended, by the one process that forks them.

        Args:
            alive: the processes whose files are still theirs.

        Raises:
            BlockingIOError: a scrape is going on; the next call does it too.
            OSError: there is no room; all files are as they were.
        """
        self._n_ended += 1
        with self._locked(fcntl.LOCK_EX):
            left: dict[str, list[Path]] = defaultdict(list)
            for path in self._directory.glob("*.db"):
                kind, *_, process = path.stem.split("_")
                if process.isdigit() and int(process) not in alive:
                    left[kind].append(path)
            left[_ENDED_KIND] += []
            sums = [self._add_up(kind, paths) for kind, paths in left.items() if kind in _KEPT_KINDS]
            with ExitStack() as nothing_new_stays:
                for new, content in sums:
                    nothing_new_stays.callback(new.unlink, missing_ok=True)
                    _write(new, content)
                for new, _ in sums:
                    new.replace(new.with_suffix(".db"))
            for paths in left.values():
                for path in paths:
                    path.unlink()

    def _add_up(self, kind: str, paths: list[Path]) -> tuple[Path, dict[str, float]]:
        """The file that is to take the place of the one kept so far, and what is to be in it."""
        from prometheus_client.mmap_dict import MmapedDict, mmap_key

        kept = self._directory / f"{kind}_ended.db"
        totals: dict[str, float] = defaultdict(float)
        for path in (kept, *paths):
            if path.exists() and path.stat().st_size > 0:
                for key, value, *_ in MmapedDict.read_all_values_from_file(path):  # type: ignore[no-untyped-call]
                    totals[key] += value
        if kind == _ENDED_KIND:
            totals[mmap_key(ENDED, f"{ENDED}_total", [], [], ENDED_HELP)] = self._n_ended
        return kept.with_suffix(".new"), totals

    @contextmanager
    def _locked(self, how: int, wait_s: float = 0) -> Iterator[None]:
        lock = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not lock_within(lock, how, wait_s):
                raise BlockingIOError(errno.EAGAIN, "another process keeps the workers' counts locked")
            yield
        finally:
            os.close(lock)


def _write(path: Path, totals: dict[str, float]) -> None:
    from prometheus_client.mmap_dict import MmapedDict

    # Written, not only reserved: where the disk is full, this raises, and a mapped file would end the process.
    path.write_bytes(bytes(sum(len(key.encode()) + _ROOM_BYTES for key in totals) + _ROOM_BYTES))
    content = MmapedDict(str(path))  # type: ignore[no-untyped-call]
    for key, value in totals.items():
        content.write_value(key, value, 0.0)  # type: ignore[no-untyped-call]
    content.close()  # type: ignore[no-untyped-call]
