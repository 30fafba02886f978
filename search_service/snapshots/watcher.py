"""Which engine answers: that of the published snapshot, swapped whole when another one is published.

1. A thread of its own looks every `poll_s` seconds at what is published.
2. Another snapshot is opened and verified in that thread, beside the old one: no request waits for it.
3. The engines are swapped: requests that begin now get the new one, those in flight end on the old one.
4. The old engine is closed when its last request ends.

A snapshot that can't be opened is refused: the old one serves on, and `/readyz` says why.

Looking and opening touch files, which can hang for ever: a network file system that is away, a damaged database. So a
second thread looks after the first: what hangs for too long is refused, its thread is given up on, and another goes on.
What such a thread opens after all is closed again. While several hang, no more are started.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from search_service.engine.engine import Engine
from shared.errors import NotReady, ParecidoError, StoreUnavailable
from shared.manifest import Manifest

_log = logging.getLogger(__name__)

OPEN_TIMEOUT_S = 60.0
"""How long opening a snapshot may take, unless the service is set otherwise."""
_MOST_HANGING = 3
_STUCK_AFTER_S = 15.0


@dataclass(frozen=True)
class SnapshotVersion:
    """The published snapshot.

    Attributes:
        snapshot_id: what `current` says.
        written_ns: when its manifest was written; a refused snapshot is tried again when this changes.
    """

    snapshot_id: str
    written_ns: int


@dataclass(frozen=True)
class SnapshotRejection:
    """Why the published snapshot is not the one that is served.

    Attributes:
        published: what was refused; None where it can't be told what is published.
        reason: a sentence.
        is_for_now: whether it is tried again at every poll: it is not the snapshot's fault.
    """

    published: SnapshotVersion | None
    reason: str
    is_for_now: bool = False

    @property
    def public_reason(self) -> str:
        """A sentence without paths of the machine."""
        if self.is_for_now:
            return "the server that has its vectors does not answer"
        what = "what is published can't be told" if self.published is None else "it can't be opened, or is not sound"
        return f"{what}; the service's log says why, and so does GET /readyz to who has an API key"

    @property
    def snapshot_id(self) -> str | None:
        """The id of what was refused."""
        return self.published.snapshot_id if self.published else None


class WatchObserver(Protocol):
    """Is told what the watch does, by the thread that polls. What it raises is logged and changes nothing."""

    def swapped(self, engine: Engine) -> None:
        """This engine answers from now on; what was refused before no longer counts."""

    def refused(self, refusal: SnapshotRejection) -> None:
        """The published snapshot is not served; told once, not at every poll."""

    def recovered(self) -> None:
        """The snapshot that was served all the time is the published one again."""


@dataclass
class _Serving:
    """An engine and the number of its users: the requests in flight, and the watch until it has a newer one."""

    published: SnapshotVersion
    engine: Engine
    users: int = 1


class SnapshotWatcher:
    """Hands out the engine of the published snapshot."""

    def __init__(
        self,
        read_published: Callable[[], SnapshotVersion],
        open_engine: Callable[[str], Engine],
        observer: WatchObserver | None = None,
        open_timeout_s: float = OPEN_TIMEOUT_S,
        note_progress: Callable[[bool], None] | None = None,
    ) -> None:
        """Nothing is opened before the first `poll`.

        Args:
            read_published: tells what is published; cheap, since it is asked at every poll.
            open_engine: opens and verifies the snapshot of an id. Both raise a ParecidoError or an OSError that says
                why they can't.
            observer: is told of swaps and refusals.
            open_timeout_s: seconds after which looking and opening are given up on, once `start` was called.
            note_progress: is told True when opening begins, and False when a look at what is published has ended,
                whatever was found.
        """
        self._read_published = read_published
        self._open_engine = open_engine
        self._observer = observer
        self._open_timeout_s = open_timeout_s
        self._note_progress = note_progress
        self._turn = threading.RLock()  # whose word counts: the thread's that polls, or that it hangs
        self._generation = 0
        self._began_s: float | None = None
        self._opening: SnapshotVersion | None = None
        self._hanging: list[tuple[threading.Thread, float]] = []
        self._polled = threading.Event()
        self._serving: _Serving | None = None
        self._refusal: SnapshotRejection | None = None
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
    def refusal(self) -> SnapshotRejection | None:
        """Why the published snapshot is not the one that is served; None where it is."""
        return self._refusal

    @property
    def stuck_for_s(self) -> float | None:
        """For how long reading files has been hanging, in seconds; None where nothing does."""
        now_s, began_s = time.monotonic(), self._began_s
        hanging = [now_s - since_s for thread, since_s in self._hanging if thread.is_alive()]
        if began_s is not None and now_s - began_s > _STUCK_AFTER_S:
            hanging.append(now_s - began_s)
        return max(hanging, default=None)

    @property
    def manifest(self) -> Manifest | None:
        """Of the snapshot that is served, if one is."""
        serving = self._serving
        return None if serving is None else serving.engine.manifest

    @property
    def is_serving(self) -> bool:
        """Whether there is an engine."""
        return self._serving is not None

    def not_serving_error(self, is_operator: bool) -> NotReady | StoreUnavailable:
        """Why there is no engine, with or without paths of the machine."""
        return _nothing_served(self._refusal, is_operator)

    def start(self, poll_s: float) -> None:
        """Poll now and every `poll_s` seconds, in threads that end with the process or by `stop`.

        Returns when the first poll has ended, or was given up on. Call it in the process that answers, since a fork
        does not copy threads.
        """
        thread = self._started(poll_s)
        threading.Thread(target=self._look_after, args=(thread, poll_s), name="snapshot-watch", daemon=True).start()
        self._polled.wait()

    def stop(self) -> None:
        """Poll no more; what is served is served on."""
        self._stopped.set()

    def poll(self) -> None:
        """Look once at what is published, and swap or refuse; one thread only may do this."""
        self._poll(self._generation)

    def _poll(self, generation: int) -> None:
        published: SnapshotVersion | None = None
        self._began_s, self._opening = time.monotonic(), None
        try:
            published = self._read_published()
            if not self._is_settled(published):
                self._open(published, generation)
        except StoreUnavailable as error:
            self._refuse(SnapshotRejection(published, str(error), is_for_now=True), generation)
        except (ParecidoError, OSError) as error:
            self._refuse(SnapshotRejection(published, str(error)), generation)
        except Exception as error:  # a fault of our own must not end the service either
            reason = f"an unexpected {type(error).__name__}; the service's log has the details"
            self._refuse(SnapshotRejection(published, reason), generation, error)
        self._ended(generation)

    def _open(self, published: SnapshotVersion, generation: int) -> None:
        with self._turn:
            if generation != self._generation:
                return
            self._opening = published
        self._progress(is_opening=True)
        engine = self._open_engine(published.snapshot_id)
        with self._turn:
            if generation == self._generation:
                self._swap(_Serving(published, engine))
                return
        engine.close()  # too late: it was given up on

    def _ended(self, generation: int) -> None:
        with self._turn:
            if generation == self._generation:
                self._began_s, self._opening = None, None
                self._progress(is_opening=False)
                self._polled.set()

    def _started(self, poll_s: float) -> threading.Thread:
        args = (poll_s, self._generation)
        thread = threading.Thread(target=self._run, args=args, name="snapshot-poll", daemon=True)
        thread.start()
        return thread

    def _look_after(self, thread: threading.Thread, poll_s: float) -> None:
        """Give up on the thread that polls where it hangs, and start another."""
        while not self._stopped.wait(min(1.0, self._open_timeout_s / 4)):
            began_s = self._began_s
            if began_s is not None and time.monotonic() - began_s > self._open_timeout_s:
                self._hanging = [(one, since_s) for one, since_s in self._hanging if one.is_alive()]
                if len(self._hanging) < _MOST_HANGING and self._give_up(thread, began_s):
                    thread = self._started(poll_s)

    def _give_up(self, thread: threading.Thread, began_s: float) -> bool:
        with self._turn:
            if self._began_s != began_s:  # it has ended just now
                return False
            self._hanging.append((thread, began_s))
            refusal = SnapshotRejection(self._opening, f"reading its files takes more than {self._open_timeout_s:g} s")
            self._refuse(refusal, self._generation)
            self._ended(self._generation)
            self._generation += 1
            return True

    def _progress(self, is_opening: bool) -> None:
        if self._note_progress is None:
            return
        try:
            self._note_progress(is_opening)
        except Exception:
            _log.exception("the progress of the watch could not be noted")

    def _run(self, poll_s: float, generation: int) -> None:
        while generation == self._generation:
            self._poll(generation)
            if self._stopped.wait(poll_s):
                return

    def _is_settled(self, published: SnapshotVersion) -> bool:
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

    def _refuse(self, refusal: SnapshotRejection, generation: int, fault: Exception | None = None) -> None:
        """Remember it; it is logged once, not at every poll. Who was given up on has no say."""
        with self._turn:
            if generation == self._generation:
                self._note_refusal(refusal, fault)

    def _note_refusal(self, refusal: SnapshotRejection, fault: Exception | None) -> None:
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


def _nothing_served(refusal: SnapshotRejection | None, is_operator: bool = True) -> NotReady | StoreUnavailable:
    if refusal is None:
        return NotReady("no snapshot is being served: none was opened yet")
    kind = StoreUnavailable if refusal.is_for_now else NotReady
    return kind(f"no snapshot is being served: {refusal.reason if is_operator else refusal.public_reason}")
