"""Which engine answers: that of the published snapshot, once there is one."""

import threading
import time
from collections.abc import Callable

from search_service.engine import Engine
from shared.errors import NotReady, ParecidoError

_RETRY_S = 1.0


class SnapshotWatch:
    """Opens the published snapshot when it is first needed; until that succeeds, tries again once a second."""

    def __init__(self, open_engine: Callable[[], Engine]) -> None:
        """Nothing is opened yet.

        Args:
            open_engine: opens the published snapshot, or raises a ParecidoError or OSError that says why not.
        """
        self._open_engine = open_engine
        self._engine: Engine | None = None
        self._reason = ""
        self._next_try = 0.0
        self._lock = threading.Lock()

    def engine(self) -> Engine:
        """The engine that answers now.

        Raises:
            NotReady: there is none, and why.
        """
        if self._engine is None:
            with self._lock:
                self._try_to_open()
        if self._engine is None:
            raise NotReady(f"no snapshot is being served: {self._reason}")
        return self._engine

    def _try_to_open(self) -> None:
        if self._engine is not None or time.monotonic() < self._next_try:
            return
        try:
            self._engine = self._open_engine()
        except (ParecidoError, OSError) as error:
            self._reason = str(error)
            self._next_try = time.monotonic() + _RETRY_S
