"""Decode images in processes that may die: no image costs more than a limit of memory, processor time and wall time.

What decoding will cost can't be told from a file: decoders see another structure in it than whoever looks beforehand.
So it is tried, where it can do no harm. A process that passes a limit or breaks down is replaced within milliseconds by
a fork of a template process, and costs that one image.
"""

import fcntl
import mmap
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np

from shared.errors import BrokenImage, ImageError, ImageTooCostly, Overloaded
from shared.images.decode import PREPROCESSING, PREPROCESSINGS, SIDE_PX, ImageLimits
from shared.images.decode_process import (
    ANSWER,
    COMMAND,
    END,
    ERRORS,
    FORK,
    MAX_MESSAGE_BYTES,
    MAX_SIDE_PX,
    NUMBER,
    OUT_OF_MEMORY,
    PIXELS_BYTES,
    TASK,
)
from shared.vectors import Pixels

CPU_S = 2.0
"""Processor time for one image: the costliest within the default limits take a third of it."""

Reason = Literal["time", "memory", "crash"]
REASONS: tuple[Reason, ...] = get_args(Reason)

_ROOT = Path(__file__).parents[2]
# Of processor time: on a machine with much else to do, that takes so much longer at most.
_WALL_TIMES = 10
# The most that a pixel takes which is within any limits: a WebP's, and its copy of the frame.
_MOST_BYTES_A_PIXEL = 16
# For Pillow's own work beside what `ImageLimits` counts: the stream, bands of rows, allocators.
_WORK_BYTES = 28 * 1024 * 1024
_START_S = 60.0
_LEAST_WAIT_S = 0.001
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "LANG", "LC_ALL", "TMPDIR")
_LARGE_BYTES = 4 * 1024 * 1024
# One thread; and large blocks are given back when they are freed, so that each image finds the same room.
_SETTINGS = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(_LARGE_BYTES),
    "MALLOC_TRIM_THRESHOLD_": str(4 * _LARGE_BYTES),
}


class PoolObserver(Protocol):
    """Is told what becomes of decoders."""

    def decoder_replaced(self, reason: Reason) -> None:
        """One has died, or was killed, and is replaced."""


def memory_budget(limits: ImageLimits) -> int:
    """Bytes that a decoder may take beside what it has when it starts: 176 MiB with the default limits."""
    most = limits.max_pixels * _MOST_BYTES_A_PIXEL if limits.max_memory_bytes is None else limits.max_memory_bytes
    return limits.max_bytes + most + _WORK_BYTES


class DecodeTemplate:
    """The process that decoders are forked from; started when it is first needed, and again where it has died."""

    def __init__(self, limits: ImageLimits) -> None:
        """Nothing is started yet.

        Args:
            limits: what decoders refuse; their memory follows from it.
        """
        self.limits = limits
        self._running: _TemplateProcess | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start in the background: the first decoder takes less time then. Without room for it, it is started later."""
        with suppress(Overloaded):
            self._current()

    def fork(self, niceness: int) -> "_Decoder":
        """A new decoder.

        Raises:
            Overloaded: the system has no room for another process.
        """
        for _ in range(2):
            process = self._current()
            with suppress(_Lost):
                return process.fork(memory_budget(self.limits), niceness)
            self._forget(process)
        raise _no_room()

    def close(self) -> None:
        """End the process, and with it all its decoders."""
        with self._lock:
            if self._running is not None:
                self._running.close()
            self._running = None

    def _current(self) -> "_TemplateProcess":
        with self._lock:
            if self._running is None or self._running.owner != os.getpid():
                self._running = _TemplateProcess(self.limits)
            return self._running

    def _forget(self, process: "_TemplateProcess") -> None:
        with self._lock:
            process.close()
            if self._running is process:
                self._running = None


@lru_cache(maxsize=8)
def _template_of(process: int, limits: ImageLimits) -> DecodeTemplate:
    return DecodeTemplate(limits)


def template_of_process(limits: ImageLimits) -> DecodeTemplate:
    """This process's own template for these limits, for whoever is not given one; it ends with the process."""
    return _template_of(os.getpid(), limits)


class DecodePool:
    """Some decoders of one template; safe to use from any number of threads."""

    def __init__(
        self,
        template: DecodeTemplate,
        processes: int,
        niceness: int = 0,
        observer: PoolObserver | None = None,
    ) -> None:
        """Each decoder is forked when it is first needed.

        Args:
            template: that they are forked from; closed by whoever made it.
            processes: images that are decoded at once at most; further ones wait.
            niceness: by how much the decoders' priority is lower than that of this process.
            observer: is told of each that is replaced.
        """
        self._template = template
        self._niceness = niceness
        self._observer = observer
        # The last one used is used first: its memory is warm, and no more are forked than are needed at once.
        self._places: queue.LifoQueue[_Decoder | None] = queue.LifoQueue()
        for _ in range(processes):
            self._places.put(None)

    def decode(
        self, data: bytes, name: str = "the image", cpu_s: float = CPU_S, preprocessing: str = PREPROCESSING
    ) -> Pixels:
        """Decode an image file to what the embedder takes; see `decode_image` and `to_pixels`.

        Args:
            data: the bytes of the file.
            name: how messages call it.
            cpu_s: seconds of processor time that it may take.
            preprocessing: one of `PREPROCESSINGS`.

        Returns:
            `(224, 224, 3)` uint8, the caller's own.

        Raises:
            ImageTooLarge, UnsupportedImage, BrokenImage: as `decode_image`; broken is also what crashes a decoder.
            ImageTooCostly: it takes more memory or time than it may.
            Overloaded: the system has no room for another process.
        """
        return self._decode(data, name, cpu_s, 0, preprocessing)

    def decode_small(self, data: bytes, side_px: int, name: str = "the image", cpu_s: float = CPU_S) -> Pixels:
        """Decode an image file to a small picture to look at, its aspect kept.

        Args:
            data: the bytes of the file.
            side_px: the most pixels that a side of it has; at most 360.
            name: how messages call it.
            cpu_s: seconds of processor time that it may take.

        Returns:
            `(height, width, 3)` uint8, the caller's own.

        Raises:
            ImageError, Overloaded: as `decode`.
        """
        if not 0 < side_px <= MAX_SIDE_PX:
            raise ValueError(f"side_px is {side_px}; expected 1 to {MAX_SIDE_PX}")
        return self._decode(data, name, cpu_s, side_px, PREPROCESSING)

    def _decode(self, data: bytes, name: str, cpu_s: float, side_px: int, preprocessing: str) -> Pixels:
        with self._place() as place:
            for is_last in (False, True):
                decoder = place.decoder()
                try:
                    return decoder.decode(data, name, cpu_s, side_px, preprocessing)
                except ImageError:
                    raise  # the decoder is as good as before
                except _TimeIsUp:  # it has hardly run: the machine may have been too busy
                    decoder.end()
                    place.replace("time")
                    raise self._error("stalled", name, cpu_s) from None
                except _Lost:
                    died_of = _cause(decoder.end())
                except BaseException:  # Ctrl-C: it is in the middle of an image
                    place.kept = None
                    decoder.end()
                    raise
                place.replace(died_of or "crash")
                # One that was killed from outside was in nobody's way: the image gets another chance, but no more.
                if died_of is not None:
                    raise self._error(died_of, name, cpu_s)
                if is_last:
                    found = "its decoder was killed twice, as happens where the machine has no memory left"
                    raise ImageTooCostly(f"{name} can't be decoded: {found}", "stalled")
        raise AssertionError

    def close(self) -> None:
        """End the decoders that no image has; the next image would be decoded by new ones."""
        idle: list[_Decoder | None] = []
        with suppress(queue.Empty):
            while True:
                idle.append(self._places.get_nowait())
        for decoder in idle:
            if decoder is not None and decoder.owner == os.getpid():
                decoder.end()
            self._places.put(None)

    def _error(self, reason: Reason | Literal["stalled"], name: str, cpu_s: float) -> ImageError:
        if reason == "crash":
            return BrokenImage(f"{name} can't be decoded: the decoder broke down")
        found = {
            "time": f"more than {cpu_s:g} s of processor time",
            "stalled": f"more than {_WALL_TIMES * cpu_s:g} s",
        }.get(reason, f"more than {memory_budget(self._template.limits):,} bytes of memory")
        return ImageTooCostly(
            f"{name} takes {found} to decode, which is the limit; save it as an ordinary JPEG, or make it smaller",
            reason,
        )

    @contextmanager
    def _place(self) -> "Iterator[_Place]":
        place = _Place(self._places.get(), self._template, self._niceness, self._observer)
        try:
            yield place
        finally:
            self._places.put(place.kept)


class _Place:
    """A decoder's place in the pool, while one image has it."""

    def __init__(
        self, kept: "_Decoder | None", template: DecodeTemplate, niceness: int, observer: PoolObserver | None
    ) -> None:
        self.kept = kept
        self._template, self._niceness, self._observer = template, niceness, observer

    def decoder(self) -> "_Decoder":
        if self.kept is None or self.kept.owner != os.getpid():
            self.kept = self._template.fork(self._niceness)
        return self.kept

    def replace(self, reason: Reason) -> None:
        if self._observer is not None:
            self._observer.decoder_replaced(reason)
        self.kept = None
        with suppress(Overloaded):  # then the next image tries again
            self.kept = self._template.fork(self._niceness)


class _Lost(Exception):
    """The process at the other end of a socket has gone."""


class _TimeIsUp(Exception):
    """A decoder has not answered in time."""


def _cause(status: int | None) -> Reason | None:
    """What a decoder died of; None where somebody has killed it, as the system does when it has no memory left."""
    if status == OUT_OF_MEMORY:
        return "memory"
    if status is not None and -status in (signal.SIGPROF, signal.SIGXCPU):
        return "time"
    return None if status is None or -status == signal.SIGKILL else "crash"


def _no_room() -> Overloaded:
    return Overloaded("no process can be started to decode the image; try again in 1 s")


class _TemplateProcess:
    """One run of the template; ends with this process, whatever ends that."""

    def __init__(self, limits: ImageLimits) -> None:
        self.owner = os.getpid()
        self._lock = threading.Lock()
        try:
            self._control, theirs = socket.socketpair()
        except OSError as error:  # no file is left
            raise _no_room() from error
        self._control.settimeout(_START_S)
        told = [str(limit) for limit in (limits.max_bytes, limits.max_pixels, limits.max_memory_bytes)]
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603  (no part of it comes from outside)
                    [sys.executable, "-P", "-m", "shared.images.decode_process", str(theirs.fileno()), *told],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    process_group=0,  # out of reach of a terminal's Ctrl-C
                    env=_environment(),
                )
            except OSError as error:
                self._control.close()
                raise _no_room() from error
        self.close = weakref.finalize(self, _end_template, self._control, self._process, self.owner)

    def fork(self, budget_bytes: int, niceness: int) -> "_Decoder":
        try:
            with ExitStack() as opened:
                memory = _shared_memory()
                opened.callback(os.close, memory)
                ours, theirs = map(opened.enter_context, socket.socketpair())
                process = self._ask(COMMAND.pack(FORK, budget_bytes, niceness), [theirs.fileno(), memory])
                if not process:
                    raise _no_room()
                return _Decoder(self, process, ours.dup(), memory)
        except OSError as error:  # no file, or no memory, is left
            raise _no_room() from error

    def end(self, process: int) -> int | None:
        """Kill a decoder; returns what it has died of, if that can be known."""
        with suppress(_Lost):
            return self._ask(COMMAND.pack(END, process, 0), [])
        return None

    def _ask(self, command: bytes, files: list[int]) -> int:
        with self._lock:
            try:
                socket.send_fds(self._control, [command], files)
                return int(NUMBER.unpack(_receive(self._control, NUMBER.size, time.monotonic() + _START_S))[0])
            except (OSError, _TimeIsUp) as error:
                raise _Lost from error


def _end_template(control: socket.socket, process: "subprocess.Popen[bytes]", owner: int) -> None:
    control.close()  # ends it
    if os.getpid() == owner:
        process.kill()  # it may be importing yet; its decoders see that they are alone
        process.wait()


def _environment() -> dict[str, str]:
    """What the template needs of this process's environment: secrets are none of its business."""
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    paths = os.pathsep.join(path for path in (str(_ROOT), kept.get("PYTHONPATH")) if path)
    return kept | _SETTINGS | {"PYTHONPATH": paths}


def _shared_memory() -> int:
    """A file of one image's pixels in memory, which nobody can cut: whoever reads behind its end would be killed."""
    if sys.platform != "linux":
        with tempfile.TemporaryFile() as file:
            os.ftruncate(file.fileno(), PIXELS_BYTES)
            return os.dup(file.fileno())
    memory = os.memfd_create("parecido-pixels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(memory, PIXELS_BYTES)
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return memory


class _Decoder:
    """One process; used by one thread at a time."""

    def __init__(self, template: _TemplateProcess, process: int, connection: socket.socket, memory: int) -> None:
        self.owner = template.owner
        self.process = process
        self._template = template
        self._connection = connection
        weakref.finalize(self, connection.close)
        self._memory = np.frombuffer(mmap.mmap(memory, PIXELS_BYTES, prot=mmap.PROT_READ), np.uint8)

    def decode(self, data: bytes, name: str, cpu_s: float, side_px: int, preprocessing: str) -> Pixels:
        """Decode in the process.

        Raises:
            ImageError: it can't be used.
            _Lost: the process has died.
            _TimeIsUp: it has not answered in time.
        """
        ends_s = time.monotonic() + _WALL_TIMES * cpu_s
        title = name.encode(errors="replace")[:MAX_MESSAGE_BYTES]
        head = TASK.pack(cpu_s, side_px, PREPROCESSINGS.index(preprocessing), len(title), len(data)) + title
        try:
            self._connection.settimeout(_WALL_TIMES * cpu_s)
            _send(self._connection, head, data)
            kind, height, width, length = ANSWER.unpack(_receive(self._connection, ANSWER.size, ends_s))
            if kind == 0:
                return self._pixels(height, width, side_px)
            message = _receive(self._connection, length, ends_s).decode(errors="replace")
        except TimeoutError as error:
            raise _TimeIsUp from error
        except OSError as error:
            raise _Lost from error
        raise ERRORS[min(kind, len(ERRORS)) - 1](message)

    def _pixels(self, height: int, width: int, side_px: int) -> Pixels:
        is_right = max(height, width) <= side_px if side_px else height == width == SIDE_PX
        if not is_right:
            raise _Lost  # it is no decoder any more
        return self._memory[: height * width * 3].reshape(height, width, 3).copy()

    def end(self) -> int | None:
        """Kill the process; returns what it has died of, if that can be known."""
        self._connection.close()
        return self._template.end(self.process)


def _send(connection: socket.socket, head: bytes, body: bytes) -> None:
    """Both in one call where there is room, so that who reads them is woken once."""
    sent = connection.sendmsg([head, body])
    if sent < len(head):
        connection.sendall(head[sent:])
        sent = len(head)
    if rest := memoryview(body)[sent - len(head) :]:
        connection.sendall(rest)


def _receive(connection: socket.socket, size: int, ends_s: float) -> bytes:
    """So many bytes.

    Raises:
        _Lost: the other end has been closed before.
        TimeoutError: `ends_s`, of `time.monotonic`, has come before.
    """
    received = b""
    while len(received) < size:
        connection.settimeout(max(_LEAST_WAIT_S, ends_s - time.monotonic()))
        part = connection.recv(size - len(received))
        if not part:
            raise _Lost
        received += part
    return received
