"""Periodic polling in a thread that may hang: on a network file system that is away, or in a damaged file.

A second thread watches the first. It gives up on a poll that takes too long and starts another thread; what the hung
poll does later is not committed. While several threads hang, no more are started.
"""

import threading
import time
from collections.abc import Callable

_MAX_HUNG = 3
_STUCK_AFTER_S = 15.0


class Poller:
    """Calls a function periodically."""

    def __init__(self, poll: Callable[[int], None], give_up: Callable[[], None], timeout_s: float) -> None:
        """Start nothing yet.

        Args:
            poll: called with the generation of its thread, to be passed to `commit`; must not raise.
            give_up: called within the lock of `commit` when a poll has hung for too long.
            timeout_s: longest time of a poll, once `start` was called.
        """
        self._poll = poll
        self._give_up = give_up
        self._timeout_s = timeout_s
        self._lock = threading.RLock()
        self._generation = 0
        self._began_s: float | None = None
        self._hung: list[tuple[threading.Thread, float]] = []
        self._polled = threading.Event()
        self._stopped = threading.Event()

    @property
    def stuck_for_s(self) -> float | None:
        """Seconds for which a poll has been hanging; None if none is."""
        now_s, began_s = time.monotonic(), self._began_s
        hanging = [now_s - since_s for thread, since_s in self._hung if thread.is_alive()]
        if began_s is not None and now_s - began_s > _STUCK_AFTER_S:
            hanging.append(now_s - began_s)
        return max(hanging, default=None)

    def commit(self, generation: int, action: Callable[[], None]) -> bool:
        """Call `action` unless the poll was given up; return True if it was called."""
        with self._lock:
            if generation != self._generation:
                return False
            action()
            return True

    def start(self, poll_s: float) -> None:
        """Poll now and every `poll_s` seconds, until `stop`; return when the first poll has ended or was given up.

        Call it in the process that serves, since a fork does not copy threads.
        """
        thread = self._start_thread(poll_s)
        threading.Thread(target=self._watch, args=(thread, poll_s), name="snapshot-watchdog", daemon=True).start()
        self._polled.wait()

    def stop(self) -> None:
        """End the polling."""
        self._stopped.set()

    def poll(self) -> None:
        """Poll once, on this thread; not beside `start`."""
        self._poll_once(self._generation)

    def _poll_once(self, generation: int) -> None:
        self._began_s = time.monotonic()
        self._poll(generation)
        self.commit(generation, self._end)

    def _end(self) -> None:
        self._began_s = None
        self._polled.set()

    def _start_thread(self, poll_s: float) -> threading.Thread:
        args = (poll_s, self._generation)
        thread = threading.Thread(target=self._run, args=args, name="snapshot-poll", daemon=True)
        thread.start()
        return thread

    def _run(self, poll_s: float, generation: int) -> None:
        while generation == self._generation:
            self._poll_once(generation)
            if self._stopped.wait(poll_s):
                return

    def _watch(self, thread: threading.Thread, poll_s: float) -> None:
        """Replace the polling thread whenever it hangs."""
        while not self._stopped.wait(min(1.0, self._timeout_s / 4)):
            began_s = self._began_s
            if began_s is not None and time.monotonic() - began_s > self._timeout_s:
                self._hung = [(hung, since_s) for hung, since_s in self._hung if hung.is_alive()]
                if len(self._hung) < _MAX_HUNG and self._abandon(thread, began_s):
                    thread = self._start_thread(poll_s)

    def _abandon(self, thread: threading.Thread, began_s: float) -> bool:
        with self._lock:
            if self._began_s != began_s:  # it has ended just now
                return False
            self._hung.append((thread, began_s))
            self._give_up()
            self._end()
            self._generation += 1
            return True
