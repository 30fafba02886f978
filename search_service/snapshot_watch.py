"""Which engine answers: that of the published snapshot, swapped whole when another one is published.

1. A thread of its own looks every `poll_s` seconds at what is published.
2. Another snapshot is opened and verified in that thread, beside the old one: no request waits for it.
3. The engines are swapped: requests that begin now get the new one, those in flight end on the old one.
4. The old engine is closed when its last request ends.

A snapshot that can't be opened is refused: the old one serves on, and `/readyz` says why.
"""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from search_service.engine import Engine
from shared.errors import NotReady, ParecidoError, StoreUnavailable

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Published:
    """The published snapshot.

    Attributes:
        snapshot_id: what `current` says.
        written_ns: when its manifest was written; a refused snapshot is tried again when this changes.
    """

    snapshot_id: str
    written_ns: int


@dataclass(frozen=True)
class Refusal:
    """Why the published snapshot is not the one that is served.

    Attributes:
        published: what was refused; None where it can't be told what is published.
        reason: a sentence.
        is_for_now: whether it is tried again at every poll: it is not the snapshot's fault.
    """

    published: Published | None
    reason: str
    is_for_now: bool = False

    @property
    def snapshot_id(self) -> str | None:
        """The id of what was refused."""
        return self.published.snapshot_id if self.published else None


class WatchObserver(Protocol):
    """Is told what the watch does, by the thread that polls. What it raises is logged and changes nothing."""

    def swapped(self, engine: Engine) -> None:
        """This engine answers from now on; what was refused before no longer counts."""

    def refused(self, refusal: Refusal) -> None:
        """The published snapshot is not served; told once, not at every poll."""

    def recovered(self) -> None:
        """The snapshot that was served all the time is the published one again."""


@dataclass
class _Serving:
    """An engine and the number of its users: the requests in flight, and the watch until it has a newer one."""

    published: Published
    engine: Engine
    users: int = 1


class SnapshotWatch:
    """Hands out the engine of the published snapshot."""

    def __init__(
        self,
        read_published: Callable[[], Published],
        open_engine: Callable[[str], Engine],
        observer: WatchObserver | None = None,
    ) -> None:
        """Nothing is opened before the first `poll`.

        Args:
            read_published: tells what is published; cheap, since it is asked at every poll.
            open_engine: opens and verifies the snapshot of an id. Both raise a ParecidoError or an OSError that says
                why they can't.
            observer: is told of swaps and refusals.
        """
        self._read_published = read_published
        self._open_engine = open_engine
        self._observer = observer
        self._serving: _Serving | None = None
        self._refusal: Refusal | None = None
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    @contextmanager
    def engine(self) -> Iterator[Engine]:
        """The engine that answers a request; it stays open until the block is left.

        Raises:
            NotReady: there is none, and why.
            StoreUnavailable: there is none, since the server that has the published one's vectors does not answer.
        """
        serving = self._begin()
        try:
            yield serving.engine
        finally:
            self._end(serving)

    @property
    def refusal(self) -> Refusal | None:
        """Why the published snapshot is not the one that is served; None where it is."""
        return self._refusal

    def start(self, poll_s: float) -> None:
        """Poll every `poll_s` seconds from now on, in a thread that ends with the process or by `stop`.

        Call it in the process that answers, since a fork does not copy threads.
        """
        threading.Thread(target=self._run, args=(poll_s,), name="snapshot-watch", daemon=True).start()

    def stop(self) -> None:
        """Poll no more; what is served is served on."""
        self._stopped.set()

    def poll(self) -> None:
        """Look once at what is published, and swap or refuse; one thread only may do this."""
        published = None
        try:
            published = self._read_published()
            if not self._is_settled(published):
                self._swap(_Serving(published, self._open_engine(published.snapshot_id)))
        except StoreUnavailable as error:
            self._refuse(Refusal(published, str(error), is_for_now=True))
        except (ParecidoError, OSError) as error:
            self._refuse(Refusal(published, str(error)))
        except Exception as error:  # a fault of our own must not end the service either
            reason = f"an unexpected {type(error).__name__}; the service's log has the details"
            self._refuse(Refusal(published, reason), error)

    def _run(self, poll_s: float) -> None:
        while not self._stopped.wait(poll_s):
            self.poll()

    def _is_settled(self, published: Published) -> bool:
        """Whether it is served already, or was refused while another one can serve."""
        if self._serving is None:
            return False
        if published == self._serving.published:
            if self._refusal is not None:
                self._refusal = None
                self._tell(lambda observer: observer.recovered())
            return True
        return self._refusal is not None and not self._refusal.is_for_now and published == self._refusal.published

    def _swap(self, new: _Serving) -> None:
        with self._lock:
            old, self._serving, self._refusal = self._serving, new, None
        _log.info("the snapshot %s is served", new.published.snapshot_id)
        self._tell(lambda observer: observer.swapped(new.engine))
        if old is not None:
            self._end(old)

    def _refuse(self, refusal: Refusal, fault: Exception | None = None) -> None:
        """Remember it; it is logged once, not at every poll."""
        before, self._refusal = self._refusal, refusal
        if refusal == before:
            return
        if self._serving is None:
            _log.warning("%s", _nothing_served(refusal), exc_info=fault)
        else:
            old, new = self._serving.published.snapshot_id, refusal.snapshot_id or "what is published"
            _log.warning("%s is refused, %s is served on: %s", new, old, refusal.reason, exc_info=fault)
        self._tell(lambda observer: observer.refused(refusal))

    def _tell(self, tell: Callable[[WatchObserver], None]) -> None:
        if self._observer is None:
            return
        try:
            tell(self._observer)
        except Exception:
            _log.exception("the observer of the watch failed")

    def _begin(self) -> _Serving:
        with self._lock:
            if self._serving is None:
                raise _nothing_served(self._refusal)
            self._serving.users += 1
            return self._serving

    def _end(self, serving: _Serving) -> None:
        with self._lock:
            serving.users -= 1
            is_last = serving.users == 0
        if is_last:
            serving.engine.close()


def _nothing_served(refusal: Refusal | None) -> NotReady | StoreUnavailable:
    kind = StoreUnavailable if refusal and refusal.is_for_now else NotReady
    return kind(f"no snapshot is being served: {refusal.reason if refusal else 'none was opened yet'}")
