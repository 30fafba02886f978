"""Serve the published snapshot, and swap to another one when it is published.

1. Every `poll_s` seconds, a thread reads which snapshot is published.
2. A new one is opened and verified in that thread, beside the old one: no request waits for it.
3. The engines are swapped: new requests use the new one, those in flight finish on the old one.
4. The old engine is closed when its last request ends.

A snapshot that cannot be opened is rejected: the old one stays in service, and `/readyz` reports the reason. So is one
whose opening hangs; see `Poller`.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from search_service.engine.engine import Engine
from search_service.snapshots.poller import Poller
from search_service.snapshots.served_engine import ServedEngine
from search_service.snapshots.version import SnapshotRejection, SnapshotVersion, not_serving_error
from shared.errors import NotReady, ParecidoError, StoreUnavailable
from shared.manifest import Manifest

_log = logging.getLogger(__name__)

OPEN_TIMEOUT_S = 60.0
"""Default of the longest time for opening a snapshot."""


class SnapshotObserver(Protocol):
    """Receives the events of a `SnapshotWatcher`, on the polling thread. Its errors are logged and change nothing."""

    def swapped(self, manifest: Manifest) -> None:
        """Note that the snapshot of this manifest is served from now on, and no longer rejected."""

    def rejected(self, snapshot_id: str | None) -> None:
        """Note that the published snapshot is not served; called once, not at every poll."""

    def recovered(self) -> None:
        """Note that the published snapshot is again the one that was served all the time."""

    def polled(self, is_opening: bool) -> None:
        """Note progress: True when opening begins, False when a poll has ended, whatever its result."""


class SnapshotWatcher:
    """Hands out the engine of the published snapshot."""

    def __init__(
        self,
        read_published: Callable[[], SnapshotVersion],
        open_engine: Callable[[str], Engine],
        observer: SnapshotObserver | None = None,
        open_timeout_s: float = OPEN_TIMEOUT_S,
    ) -> None:
        """Open nothing before the first `poll`.

        Args:
            read_published: returns what is published; cheap, since it is called at every poll.
            open_engine: opens and verifies the snapshot of an id. Both raise a ParecidoError or an OSError on failure.
            observer: receives the events.
            open_timeout_s: longest time of a poll, once `start` was called.
        """
        self._read_published = read_published
        self._open_engine = open_engine
        self._observer = observer
        self._open_timeout_s = open_timeout_s
        self._poller = Poller(self._poll, self._give_up, open_timeout_s)
        self._served = ServedEngine()
        self._opening: SnapshotVersion | None = None
        self._rejection: SnapshotRejection | None = None

    @contextmanager
    def engine(self) -> Iterator[Engine]:
        """Keep the current engine open during the block.

        Raises:
            NotReady: there is none; the message has the reason.
            StoreUnavailable: there is none, since the vector server does not answer.
        """
        with self._served.use() as engine:
            if engine is None:
                raise not_serving_error(self._rejection)
            yield engine

    @property
    def rejection(self) -> SnapshotRejection | None:
        """The rejection of the published snapshot; None if it is served."""
        return self._rejection

    @property
    def stuck_for_s(self) -> float | None:
        """Seconds for which reading snapshots has been hanging; None if it is not."""
        return self._poller.stuck_for_s

    @property
    def manifest(self) -> Manifest | None:
        """Manifest of the served snapshot; None if there is none."""
        engine = self._served.engine
        return None if engine is None else engine.manifest

    @property
    def is_serving(self) -> bool:
        """True if there is an engine."""
        return self._served.engine is not None

    def start(self, poll_s: float) -> None:
        """Poll now and every `poll_s` seconds; see `Poller.start`."""
        self._poller.start(poll_s)

    def stop(self) -> None:
        """End the polling; the current snapshot stays in service."""
        self._poller.stop()

    def poll(self) -> None:
        """Poll once, on this thread; not beside `start`."""
        self._poller.poll()

    def not_serving_error(self, is_operator: bool) -> NotReady | StoreUnavailable:
        """Return why there is no engine; only operators get reasons with paths."""
        return not_serving_error(self._rejection, is_operator)

    def _poll(self, generation: int) -> None:
        published: SnapshotVersion | None = None
        self._opening = None
        try:
            published = self._read_published()
            if not self._is_settled(published):
                self._open(published, generation)
        except StoreUnavailable as error:
            self._reject(SnapshotRejection(published, str(error), is_temporary=True), generation)
        except (ParecidoError, OSError) as error:
            self._reject(SnapshotRejection(published, str(error)), generation)
        except Exception as error:  # a bug must not end the service
            reason = f"an unexpected {type(error).__name__}; the service's log has the details"
            self._reject(SnapshotRejection(published, reason), generation, error)
        self._poller.commit(generation, self._finish)

    def _is_settled(self, published: SnapshotVersion) -> bool:
        """Return True if it is served already, or was rejected while another one can serve."""
        served = self._served.version
        if served is None:
            return False
        if published == served:
            if self._rejection is not None:
                self._rejection = None
                self._notify(lambda observer: observer.recovered())
            return True
        rejection = self._rejection
        return rejection is not None and not rejection.is_temporary and published == rejection.version

    def _open(self, published: SnapshotVersion, generation: int) -> None:
        if not self._poller.commit(generation, lambda: setattr(self, "_opening", published)):
            return
        self._notify(lambda observer: observer.polled(is_opening=True))
        engine = self._open_engine(published.snapshot_id)
        if not self._poller.commit(generation, lambda: self._swap(published, engine)):
            engine.close()  # too late: the poll was given up

    def _swap(self, version: SnapshotVersion, engine: Engine) -> None:
        self._rejection = None
        self._served.swap(version, engine)
        _log.info("serving snapshot %s", version.snapshot_id)
        self._notify(lambda observer: observer.swapped(engine.manifest))

    def _give_up(self) -> None:
        reason = f"reading its files takes more than {self._open_timeout_s:g} s"
        self._note_rejection(SnapshotRejection(self._opening, reason), None)
        self._finish()

    def _finish(self) -> None:
        self._opening = None
        self._notify(lambda observer: observer.polled(is_opening=False))

    def _reject(self, rejection: SnapshotRejection, generation: int, cause: Exception | None = None) -> None:
        self._poller.commit(generation, lambda: self._note_rejection(rejection, cause))

    def _note_rejection(self, rejection: SnapshotRejection, cause: Exception | None) -> None:
        """Keep a rejection, and log it if it is new."""
        before, self._rejection = self._rejection, rejection
        if rejection == before:
            return
        served = self._served.version
        if served is None:
            _log.warning("%s", not_serving_error(rejection), exc_info=cause)
        else:
            new = rejection.snapshot_id or "the published snapshot"
            _log.warning("rejected %s, still serving %s: %s", new, served.snapshot_id, rejection.reason, exc_info=cause)
        self._notify(lambda observer: observer.rejected(rejection.snapshot_id))

    def _notify(self, event: Callable[[SnapshotObserver], None]) -> None:
        if self._observer is None:
            return
        try:
            event(self._observer)
        except Exception:
            _log.exception("an observer of the snapshots failed")
