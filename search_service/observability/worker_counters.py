"""Counters and histograms over all workers, including those that have ended.

Each worker maps its own prometheus_client files into memory. Files of ended workers would accumulate, and every scrape
reads all of them. So the process that forks the workers merges them into one file per metric kind whenever a worker
ends. A lock prevents a scrape from reading a count twice or missing it.

The forking process imports this module, so prometheus_client, which reads the environment on import, is imported where
it is used. See docs/decisions/0008-metrics.md.
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
_MERGED_KINDS = frozenset(("counter", "histogram", "summary"))
# More than prometheus_client needs for a value beside its key.
_ENTRY_BYTES = 64
_SCRAPE_WAIT_S = 2.0  # merging takes milliseconds


class WorkerCounters:
    """The counters in the directory that the workers share."""

    def __init__(self, directory: Path) -> None:
        """Use a directory; nothing is read yet.

        Args:
            directory: that of `PROMETHEUS_MULTIPROC_DIR`.
        """
        self._directory = directory
        self._n_ended = 0

    def collect(self) -> "list[Metric]":
        """Return every counter and histogram, over all workers.

        Raises:
            Overloaded: another process holds the lock.
        """
        from prometheus_client.multiprocess import MultiProcessCollector

        try:
            with self._locked(fcntl.LOCK_SH, _SCRAPE_WAIT_S):
                # A file is empty for a moment when its worker has just started.
                files = [str(path) for path in self._directory.glob("*.db") if path.stat().st_size > 0]
                return list(MultiProcessCollector.merge(files))  # type: ignore[no-untyped-call]
        except BlockingIOError as error:
            raise Overloaded(str(error.strerror)) from error

    def merge_ended(self, alive: Collection[int]) -> None:
        """Merge the files of ended workers; called once per ended worker, by the process that forks them.

        Args:
            alive: ids of the running workers, whose files are kept.

        Raises:
            BlockingIOError: a scrape holds the lock; the next call merges these files, too.
            OSError: the disk is full; all files are unchanged.
        """
        self._n_ended += 1
        with self._locked(fcntl.LOCK_EX):
            ended: dict[str, list[Path]] = defaultdict(list)
            for path in self._directory.glob("*.db"):
                kind, *_, process = path.stem.split("_")
                if process.isdigit() and int(process) not in alive:
                    ended[kind].append(path)
            ended[_ENDED_KIND] += []
            merged = [self._merged(kind, paths) for kind, paths in ended.items() if kind in _MERGED_KINDS]
            with ExitStack() as cleanup:
                for new, content in merged:
                    cleanup.callback(new.unlink, missing_ok=True)
                    _write(new, content)
                for new, _ in merged:
                    new.replace(new.with_suffix(".db"))
            for paths in ended.values():
                for path in paths:
                    path.unlink()

    def _merged(self, kind: str, paths: list[Path]) -> tuple[Path, dict[str, float]]:
        """Return the temporary path of the new merged file of a kind, and its content."""
        from prometheus_client.mmap_dict import MmapedDict, mmap_key

        previous = self._directory / f"{kind}_ended.db"
        totals: dict[str, float] = defaultdict(float)
        for path in (previous, *paths):
            if path.exists() and path.stat().st_size > 0:
                for key, value, *_ in MmapedDict.read_all_values_from_file(path):  # type: ignore[no-untyped-call]
                    totals[key] += value
        if kind == _ENDED_KIND:
            totals[mmap_key(ENDED, f"{ENDED}_total", [], [], ENDED_HELP)] = self._n_ended
        return previous.with_suffix(".new"), totals

    @contextmanager
    def _locked(self, mode: int, wait_s: float = 0) -> Iterator[None]:
        lock = os.open(self._directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if not lock_within(lock, mode, wait_s):
                raise BlockingIOError(errno.EAGAIN, "another process holds the lock of the workers' counters")
            yield
        finally:
            os.close(lock)


def _write(path: Path, totals: dict[str, float]) -> None:
    from prometheus_client.mmap_dict import MmapedDict

    # Write zeros instead of only reserving space: on a full disk this raises; writing to a mapped file would crash.
    path.write_bytes(bytes(sum(len(key.encode()) + _ENTRY_BYTES for key in totals) + _ENTRY_BYTES))
    content = MmapedDict(str(path))  # type: ignore[no-untyped-call]
    for key, value in totals.items():
        content.write_value(key, value, 0.0)  # type: ignore[no-untyped-call]
    content.close()  # type: ignore[no-untyped-call]
