"""The template process of a decode pool, as seen by the pool: started on demand, it forks the decoders.

It ends with the process that started it, however that ends, and with it end its decoders.
"""

import fcntl
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from contextlib import ExitStack, suppress
from functools import lru_cache
from pathlib import Path

from shared.errors import Overloaded
from shared.images.decode_pool.decoder import Decoder
from shared.images.decode_pool.protocol import COMMAND, END, FORK, NUMBER, PIXELS_BYTES, PeerLost, receive
from shared.images.limits import ImageLimits

_ROOT = Path(__file__).parents[3]
# The largest memory per pixel within any limits: a WebP's, with the decoder's copy of the frame.
_MAX_BYTES_PER_PIXEL = 16
# For Pillow's own work beside what `ImageLimits` counts: the stream, bands of rows, allocators.
_WORK_BYTES = 28 * 1024 * 1024
_START_TIMEOUT_S = 60.0
# All that is passed of this process's environment: the template needs no secrets.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "PYTHONHOME", "PYTHONPATH", "LANG", "LC_ALL", "TMPDIR")
_LARGE_BYTES = 4 * 1024 * 1024
# One thread; and large blocks are returned to the system when freed, so that each image finds the same room.
_SETTINGS = {
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(_LARGE_BYTES),
    "MALLOC_TRIM_THRESHOLD_": str(4 * _LARGE_BYTES),
}


def memory_budget(limits: ImageLimits) -> int:
    """Bytes that a decoder may use beside those it starts with: 176 MiB with the default limits."""
    pixels = limits.max_pixels * _MAX_BYTES_PER_PIXEL if limits.max_memory_bytes is None else limits.max_memory_bytes
    return limits.max_bytes + pixels + _WORK_BYTES


class DecodeTemplate:
    """The process that decoders are forked from; started on demand, and again after it has died."""

    def __init__(self, limits: ImageLimits) -> None:
        """Prepare; no process is started yet.

        Args:
            limits: decoders reject larger images; their memory limit follows from it.
        """
        self.limits = limits
        self._running: _TemplateProcess | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Start the process, so that the first decoder takes less time; without resources, it is started later."""
        with suppress(Overloaded):
            self._current()

    def fork(self, niceness: int) -> Decoder:
        """Fork a new decoder.

        Raises:
            Overloaded: the system has no resources for another process.
        """
        for _ in range(2):
            process = self._current()
            with suppress(PeerLost):
                return process.fork(memory_budget(self.limits), niceness)
            self._forget(process)
        raise _no_resources()

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
    """The template of this process for these limits, for callers that were not given one; it ends with the process."""
    return _template_of(os.getpid(), limits)


class _TemplateProcess:
    """One run of the template process."""

    def __init__(self, limits: ImageLimits) -> None:
        self.owner = os.getpid()
        self._lock = threading.Lock()
        try:
            self._control, theirs = socket.socketpair()
        except OSError as error:  # no file descriptor is left
            raise _no_resources() from error
        self._control.settimeout(_START_TIMEOUT_S)
        arguments = [str(limit) for limit in (limits.max_bytes, limits.max_pixels, limits.max_memory_bytes)]
        with theirs:
            try:
                self._process = subprocess.Popen(  # noqa: S603  (no part of it comes from outside)
                    [
                        sys.executable,
                        "-P",
                        "-m",
                        "shared.images.decode_pool.decoder_process",
                        str(theirs.fileno()),
                        *arguments,
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[theirs.fileno()],
                    process_group=0,  # out of reach of a terminal's Ctrl-C
                    env=_environment(),
                )
            except OSError as error:
                self._control.close()
                raise _no_resources() from error
        self.close = weakref.finalize(self, _end_template, self._control, self._process, self.owner)

    def fork(self, budget_bytes: int, niceness: int) -> Decoder:
        try:
            with ExitStack() as opened:
                memory = _shared_memory()
                opened.callback(os.close, memory)
                ours, theirs = map(opened.enter_context, socket.socketpair())
                process = self._ask(COMMAND.pack(FORK, budget_bytes, niceness), [theirs.fileno(), memory])
                if not process:
                    raise _no_resources()
                return Decoder(process, ours.dup(), memory, self.end)
        except OSError as error:  # no file descriptor, or no memory, is left
            raise _no_resources() from error

    def end(self, process: int) -> int | None:
        """Kill a decoder; return its exit code or minus its signal, or None if the template has died too."""
        with suppress(PeerLost):
            return self._ask(COMMAND.pack(END, process, 0), [])
        return None

    def _ask(self, command: bytes, files: list[int]) -> int:
        with self._lock:
            try:
                socket.send_fds(self._control, [command], files)
                answer = receive(self._control, NUMBER.size, time.monotonic() + _START_TIMEOUT_S)
                return int(NUMBER.unpack(answer)[0])
            except OSError as error:
                raise PeerLost from error


def _no_resources() -> Overloaded:
    return Overloaded("no process can be started to decode the image; try again in 1 s")


def _end_template(control: socket.socket, process: "subprocess.Popen[bytes]", owner: int) -> None:
    control.close()  # ends it
    if os.getpid() == owner:
        process.kill()  # it may still be importing; its decoders notice that it is gone
        process.wait()


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    paths = os.pathsep.join(path for path in (str(_ROOT), kept.get("PYTHONPATH")) if path)
    return kept | _SETTINGS | {"PYTHONPATH": paths}


def _shared_memory() -> int:
    """Open memory for one image's pixels; sealed, since reading past the end of a truncated file ends the process."""
    if sys.platform != "linux":
        with tempfile.TemporaryFile() as file:
            os.ftruncate(file.fileno(), PIXELS_BYTES)
            return os.dup(file.fileno())
    memory = os.memfd_create("parecido-pixels", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(memory, PIXELS_BYTES)
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return memory
