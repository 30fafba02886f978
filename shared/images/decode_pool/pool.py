"""A pool of decoder processes: no image costs more than a limit of memory, processor time and wall time.

The cost of decoding can't be predicted from a file, since decoders may read its structure differently from a check. So
it is tried in a process that may die. A process that exceeds a limit or crashes is replaced within milliseconds by a
fork of a template process, and only that one image fails.
"""

import os
import queue
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Literal, Protocol, get_args

from shared.errors import BrokenImage, ImageError, ImageTooCostly, Overloaded
from shared.images.decode_pool.decoder import WALL_TIME_FACTOR, Decoder
from shared.images.decode_pool.protocol import MAX_THUMBNAIL_PX, OUT_OF_MEMORY, PeerLost
from shared.images.decode_pool.template import DecodeTemplate, memory_budget
from shared.images.preprocessing import DEFAULT_PREPROCESSING, Preprocessing
from shared.vectors import Pixels

CPU_S = 2.0
"""Processor time for one image: the costliest within the default limits take a third of it."""

Reason = Literal["time", "memory", "crash"]
REASONS: tuple[Reason, ...] = get_args(Reason)


class PoolObserver(Protocol):
    """An observer of the pool's decoders."""

    def decoder_replaced(self, reason: Reason) -> None:
        """Record that a decoder died, or was killed, and is replaced."""


class DecodePool:
    """Some decoders of one template; safe to use from any number of threads."""

    def __init__(
        self,
        template: DecodeTemplate,
        processes: int,
        niceness: int = 0,
        observer: PoolObserver | None = None,
    ) -> None:
        """Prepare; each decoder is forked when it is first needed.

        Args:
            template: forks the decoders; its owner closes it.
            processes: the most images that are decoded at once; further ones wait.
            niceness: added to this process's niceness for the decoders.
            observer: notified of each decoder that is replaced.
        """
        self._template = template
        self._niceness = niceness
        self._observer = observer
        # Last in, first out: that decoder's memory is warm, and no more are forked than are needed at once.
        self._slots: queue.LifoQueue[Decoder | None] = queue.LifoQueue()
        for _ in range(processes):
            self._slots.put(None)

    def decode(
        self,
        data: bytes,
        name: str = "the image",
        cpu_s: float = CPU_S,
        preprocessing: Preprocessing = DEFAULT_PREPROCESSING,
    ) -> Pixels:
        """Decode an image file to the embedder's input; see `decode_image` and `to_pixels`.

        Args:
            data: the bytes of the file.
            name: the image's name in messages.
            cpu_s: the most seconds of processor time.
            preprocessing: that of the snapshot.

        Returns:
            `(side_px, side_px, 3)` uint8, with the preprocessing's side; a copy of the caller's own.

        Raises:
            ImageTooLarge, UnsupportedImage, BrokenImage: as `decode_image`; also broken is an image that crashes a
                decoder.
            ImageTooCostly: decoding takes more memory or time than it may.
            Overloaded: the system has no resources for another process.
        """
        return self._decode(data, name, cpu_s, 0, preprocessing)

    def decode_small(self, data: bytes, side_px: int, name: str = "the image", cpu_s: float = CPU_S) -> Pixels:
        """Decode an image file to a thumbnail, keeping its aspect ratio.

        Args:
            data: the bytes of the file.
            side_px: the longest side, in pixels; at most 360.
            name: the image's name in messages.
            cpu_s: the most seconds of processor time.

        Returns:
            `(height, width, 3)` uint8, a copy of the caller's own.

        Raises:
            ImageError, Overloaded: as `decode`.
        """
        if not 0 < side_px <= MAX_THUMBNAIL_PX:
            raise ValueError(f"side_px is {side_px}; expected 1 to {MAX_THUMBNAIL_PX}")
        return self._decode(data, name, cpu_s, side_px, DEFAULT_PREPROCESSING)

    def close(self) -> None:
        """End the idle decoders; the next image is decoded by new ones."""
        idle: list[Decoder | None] = []
        with suppress(queue.Empty):
            while True:
                idle.append(self._slots.get_nowait())
        for decoder in idle:
            if decoder is not None and decoder.owner == os.getpid():
                decoder.end()
            self._slots.put(None)

    def _decode(self, data: bytes, name: str, cpu_s: float, thumbnail_px: int, preprocessing: Preprocessing) -> Pixels:
        with self._slot() as slot:
            for is_last in (False, True):
                decoder = slot.decoder()
                try:
                    return decoder.decode(data, name, cpu_s, thumbnail_px, preprocessing)
                except ImageError:
                    raise  # the decoder is as good as before
                except TimeoutError:  # it has hardly run: the machine may have been too busy
                    decoder.end()
                    slot.replace("time")
                    raise self._error("stalled", name, cpu_s) from None
                except PeerLost:
                    reason = _reason(decoder.end())
                except BaseException:  # Ctrl-C in the middle of an image
                    slot.kept = None
                    decoder.end()
                    raise
                slot.replace(reason or "crash")
                # If it was killed from outside, the image may not be the cause: it gets one more chance.
                if reason is not None:
                    raise self._error(reason, name, cpu_s)
                if is_last:
                    problem = "its decoder was killed twice, as happens where the machine has no memory left"
                    raise ImageTooCostly(f"{name} can't be decoded: {problem}", "stalled")
        raise AssertionError

    def _error(self, reason: Reason | Literal["stalled"], name: str, cpu_s: float) -> ImageError:
        if reason == "crash":
            return BrokenImage(f"{name} can't be decoded: the decoder crashed")
        cost = {
            "time": f"more than {cpu_s:g} s of processor time",
            "stalled": f"more than {WALL_TIME_FACTOR * cpu_s:g} s",
        }.get(reason, f"more than {memory_budget(self._template.limits):,} bytes of memory")
        return ImageTooCostly(
            f"{name} takes {cost} to decode, which is the limit; save it as an ordinary JPEG, or make it smaller",
            reason,
        )

    @contextmanager
    def _slot(self) -> "Iterator[_Slot]":
        slot = _Slot(self._slots.get(), self._template, self._niceness, self._observer)
        try:
            yield slot
        finally:
            self._slots.put(slot.kept)


class _Slot:
    """A slot of the pool while it decodes one image, with the decoder to keep for the next."""

    def __init__(
        self, kept: Decoder | None, template: DecodeTemplate, niceness: int, observer: PoolObserver | None
    ) -> None:
        self.kept = kept
        self._template, self._niceness, self._observer = template, niceness, observer

    def decoder(self) -> Decoder:
        if self.kept is None or self.kept.owner != os.getpid():
            self.kept = self._template.fork(self._niceness)
        return self.kept

    def replace(self, reason: Reason) -> None:
        if self._observer is not None:
            self._observer.decoder_replaced(reason)
        self.kept = None
        with suppress(Overloaded):  # then the next image tries again
            self.kept = self._template.fork(self._niceness)


def _reason(status: int | None) -> Reason | None:
    """The reason why a decoder died; None if it was killed from outside, as the system does when memory is short."""
    if status == OUT_OF_MEMORY:
        return "memory"
    if status is not None and -status in (signal.SIGPROF, signal.SIGXCPU):
        return "time"
    return None if status is None or -status == signal.SIGKILL else "crash"
