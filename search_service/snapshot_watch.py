"""Which engine answers: that of the published snapshot, swapped whole when another one is published.

1. A thread of its own looks every `poll_s` seconds at what is published.
2. Another snapshot is opened and verified in that thread, beside the old one: no request waits for it.
3. The engines are swapped: requests that begin now get the new one, those in flight end on the old one.
4. The old engine is closed when its last request ends.

A snapshot that can't be opened is refused: the old one serves on, and `/readyz` says why.

Looking and opening touch files, which can hang for ever: a network file system that is away, a damaged database. So
each runs in a thread of its own that is given up on after a time, and the watch goes on without it. What it opens after
all is closed again. While several such threads hang, nothing more is tried.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from search_service.engine import Engine
from shared.errors import NotReady, ParecidoError, StoreUnavailable

_log = logging.getLogger(__name__)

OPEN_TIMEOUT_S = 60.0
"""How long opening a snapshot may take, unless the service is set otherwise."""
_READ_TIMEOUT_S = 10.0
_MOST_HANGING = 3
_STUCK_AFTER_S = 15.0
_Result = TypeVar("_Result")


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

    def refused(self, refusal: Refusal) -> None:
        """The published snapshot is not served; told once, not at every poll."""

    def recovered(self) -> None:
        """The snapshot that was served all the time is the published one again."""

    def opening(self, is_opening: bool) -> None:
        """A snapshot is being opened, or no longer."""

    def polled(self) -> None:
        """A look at what is published has ended, whatever was found."""


class Hanging(Exception):
    """Work on files did not end in time; its thread was given up on."""


class _Attempts:
    """Runs work that may hang in threads of its own."""

    def __init__(self) -> None:
        self._began: dict[Future[Any], float] = {}

    @property
    def oldest_s(self) -> float:
        """For how long the oldest that has not ended has been running, in seconds; 0 where there is none."""
        began = [began_s for future, began_s in list(self._began.items()) if not future.done()]
        return time.monotonic() - min(began) if began else 0.0

    def run(
        self, work: Callable[[], _Result], timeout_s: float, discard: Callable[[_Result], object] | None = None
    ) -> _Result:
        """Run `work` in a thread, and wait for it.

        Args:
            work: what to do.
            timeout_s: seconds that it may take.
            discard: is given what comes too late.

        Raises:
            Hanging: it takes longer, or so many others hang already that it was not begun.
        """
        self._began = {future: began_s for future, began_s in self._began.items() if not future.done()}
        if len(self._began) >= _MOST_HANGING:
            raise Hanging(f"{len(self._began)} earlier attempts to read snapshots still hang")
        future: Future[_Result] = Future()
        self._began[future] = time.monotonic()
        threading.Thread(target=_fulfil, args=(future, work), name="snapshot-files", daemon=True).start()
        try:
            return future.result(timeout_s)
        except TimeoutError:
            if future.done():  # the work's own, or just in time
                return future.result()
            future.add_done_callback(lambda late: _discard(late, discard))
            raise Hanging(f"reading files takes more than {timeout_s:g} s") from None


def _fulfil(future: Future[Any], work: Callable[[], Any]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:
        future.set_exception(error)


def _discard(late: Future[Any], discard: Callable[[Any], object] | None) -> None:
    if late.exception() is None and discard is not None:
        discard(late.result())


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
        open_timeout_s: float = OPEN_TIMEOUT_S,
        read_timeout_s: float = _READ_TIMEOUT_S,
    ) -> None:
        """Nothing is opened before the first `poll`.

        Args:
            read_published: tells what is published; cheap, since it is asked at every poll.
            open_engine: opens and verifies the snapshot of an id. Both raise a ParecidoError or an OSError that says
                why they can't.
            observer: is told of swaps and refusals.
            open_timeout_s: seconds after which opening is given up on.
            read_timeout_s: seconds after which looking at what is published is.
        """
        self._read_published = read_published
        self._open_engine = open_engine
        self._observer = observer
        self._open_timeout_s = open_timeout_s
        self._read_timeout_s = read_timeout_s
        self._attempts = _Attempts()
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

    @property
    def stuck_for_s(self) -> float | None:
        """For how long reading files has been hanging, in seconds; None where nothing does."""
        oldest_s = self._attempts.oldest_s
        return oldest_s if oldest_s > min(_STUCK_AFTER_S, self._open_timeout_s) else None

    @property
    def is_serving(self) -> bool:
        """Whether there is an engine."""
        return self._serving is not None

    def nothing_served(self, is_insider: bool) -> NotReady | StoreUnavailable:
        """Why there is no engine, with or without paths of the machine."""
        return _nothing_served(self._refusal, is_insider)

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
            published = self._attempts.run(self._read_published, self._read_timeout_s)
            if not self._is_settled(published):
                self._swap(_Serving(published, self._open(published.snapshot_id)))
        except Hanging as error:
            self._refuse(Refusal(published, str(error)))
        except StoreUnavailable as error:
            self._refuse(Refusal(published, str(error), is_for_now=True))
        except (ParecidoError, OSError) as error:
            self._refuse(Refusal(published, str(error)))
        except Exception as error:  # a fault of our own must not end the service either
            reason = f"an unexpected {type(error).__name__}; the service's log has the details"
            self._refuse(Refusal(published, reason), error)
        self._tell(lambda observer: observer.polled())

    def _open(self, snapshot_id: str) -> Engine:
        self._tell(lambda observer: observer.opening(True))
        try:
            return self._attempts.run(
                lambda: self._open_engine(snapshot_id), self._open_timeout_s, lambda engine: engine.close()
            )
        finally:
            self._tell(lambda observer: observer.opening(False))

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


def _nothing_served(refusal: Refusal | None, is_insider: bool = True) -> NotReady | StoreUnavailable:
    if refusal is None:
        return NotReady("no snapshot is being served: none was opened yet")
    kind = StoreUnavailable if refusal.is_for_now else NotReady
    return kind(f"no snapshot is being served: {refusal.reason if is_insider else refusal.public_reason}")
