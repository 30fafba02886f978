"""The engine that answers, swapped while requests use it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from search_service.engine.engine import Engine
from search_service.snapshots.version import SnapshotVersion


@dataclass
class _Counted:
    """An engine and the number of its users: the requests in flight, and `ServedEngine` until the next swap."""

    version: SnapshotVersion
    engine: Engine
    users: int = 1


class ServedEngine:
    """Hands out the current engine; a replaced one is closed when its last request ends. Thread-safe."""

    def __init__(self) -> None:
        """Start without an engine."""
        self._current: _Counted | None = None
        self._lock = threading.Lock()

    @property
    def version(self) -> SnapshotVersion | None:
        """Version of the current engine's snapshot; None without an engine."""
        current = self._current
        return None if current is None else current.version

    @property
    def engine(self) -> Engine | None:
        """The current engine, not protected from being closed."""
        current = self._current
        return None if current is None else current.engine

    @contextmanager
    def use(self) -> Iterator[Engine | None]:
        """Keep the current engine open during the block; None if there is none."""
        with self._lock:
            current = self._current
            if current is not None:
                current.users += 1
        try:
            yield None if current is None else current.engine
        finally:
            if current is not None:
                self._release(current)

    def swap(self, version: SnapshotVersion, engine: Engine) -> None:
        """Replace the current engine."""
        with self._lock:
            old, self._current = self._current, _Counted(version, engine)
        if old is not None:
            self._release(old)

    def _release(self, counted: _Counted) -> None:
        with self._lock:
            counted.users -= 1
            is_unused = counted.users == 0
        if is_unused:
            counted.engine.close()
