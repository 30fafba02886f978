"""The child's side of a `DecodePool`: a template process that has imported Pillow, and decoders forked from it.

1. `main` imports what decoding needs, and forks a decoder whenever the pool asks for one: that takes milliseconds.
2. A decoder limits its own memory, files and signals for good, then decodes one image at a time, each within a limit of
   processor time. It writes pixels into memory that it shares with the pool, and says how it went over a socket.

A decoder that passes a limit dies: of SIGPROF, or with `OUT_OF_MEMORY`. Nothing that it says is more than a number or a
text to whoever reads it, so one that hostile bytes have taken over can't do more than a decoder may.
"""

import contextlib
import ctypes
import gc
import mmap
import os
import resource
import signal
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image, MpoImagePlugin, TiffImagePlugin, WebPImagePlugin  # noqa: F401  (registers them)

from shared.errors import BrokenImage, ImageError, ImageTooLarge, UnsupportedImage
from shared.images.decode import PREPROCESSINGS, ImageLimits, decode_image, to_pixels
from shared.images.formats import FORMATS

MAX_SIDE_PX = 360
"""Of a picture that is asked for as it is, but small."""
PIXELS_BYTES = MAX_SIDE_PX * MAX_SIDE_PX * 3
OUT_OF_MEMORY = 77
"""Exit status of a decoder whose image took more memory than it may have."""

COMMAND = struct.Struct("=cqi")
"""To the template: `FORK`, bytes of memory and niceness, with a decoder's socket and its shared memory; `END` and a
process. Both are answered by `NUMBER`."""
FORK, END = b"F", b"E"
NUMBER = struct.Struct("=i")
"""A forked process, or 0 where there is no room for one; of one that has ended, its exit code or minus its signal."""
TASK = struct.Struct("=dHBHQ")
"""To a decoder: seconds of processor time; 0 for the embedder's square, or the most pixels that a small picture's side
may have; the place of the preprocessing in `PREPROCESSINGS`; bytes of the image's name, bytes of the image; name and
image follow."""
ANSWER = struct.Struct("=BHHH")
"""From a decoder: 0, or the place of the error in `ERRORS` from 1; height and width of the pixels; bytes of the message
that follows."""
ERRORS: tuple[type[ImageError], ...] = (ImageTooLarge, UnsupportedImage, BrokenImage)
MAX_MESSAGE_BYTES = 4096

_FILES = 16
# How Pillow tells the status -9 of its decoders, which are out of memory.
_OUT_OF_MEMORY_TEXTS = ("-9", "decoder error -9", "out of memory")
_PR_SET_PDEATHSIG = 1
_EASILY_KILLED = "500"


@dataclass(frozen=True)
class _Fork:
    """What a decoder is forked with: its end of the socket, the memory that it shares, and its limits."""

    connection: int
    memory: int
    budget_bytes: int
    niceness: int


def main(control: int, limits: ImageLimits) -> None:
    """Fork decoders until the pool is gone.

    Args:
        control: the template's end of its socket.
        limits: what the decoders refuse.
    """
    _leave_signals_to_the_pool()
    if any(name not in Image.OPEN for name in FORMATS):
        Image.init()  # Pillow would, in each decoder
    gc.freeze()  # what is never collected is never copied
    with socket.socket(fileno=control) as pool:
        while True:
            command, files, _, _ = socket.recv_fds(pool, COMMAND.size, 2, socket.MSG_WAITALL)
            if len(command) < COMMAND.size:
                return
            kind, number, niceness = COMMAND.unpack(command)
            is_fork = kind == FORK
            answer = _fork(pool, _Fork(files[0], files[1], number, niceness), limits) if is_fork else _end(number)
            pool.sendall(NUMBER.pack(answer))


def _fork(pool: socket.socket, fork: _Fork, limits: ImageLimits) -> int:
    template = os.getpid()
    try:
        process = os.fork()
    except OSError:
        process = -1
    if process == 0:
        status = 1
        try:
            pool.close()
            _decoder(fork, limits, template)
            status = 0
        finally:
            os._exit(status)
    os.close(fork.connection)
    os.close(fork.memory)
    return max(0, process)


def _end(process: int) -> int:
    """Kill a decoder; what one that has ended died of stays."""
    try:
        os.kill(process, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    except OSError:  # no decoder of this template
        return -signal.SIGKILL


def _leave_signals_to_the_pool() -> None:
    """Ctrl-C and stops are for the process that has the pool: it may have images under way. Its end ends these too."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)


def _decoder(fork: _Fork, limits: ImageLimits, template: int) -> None:
    with contextlib.suppress(OSError, AttributeError):  # Linux
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != template:
        return
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, sys.stderr.fileno())
    os.nice(fork.niceness)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    with mmap.mmap(fork.memory, PIXELS_BYTES) as memory, socket.socket(fileno=fork.connection) as connection:
        _limit(fork.budget_bytes)
        _serve(connection, np.frombuffer(memory, np.uint8), limits)


def _limit(budget_bytes: int) -> None:
    """Take limits that this process can't lift again."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(_EASILY_KILLED)  # where the machine has no memory left, a decoder goes first
    with contextlib.suppress(OSError), open("/proc/self/statm") as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + budget_bytes,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, _FILES))


def _serve(connection: socket.socket, memory: NDArray[np.uint8], limits: ImageLimits) -> None:
    with connection.makefile("rb") as stream:
        while len(head := stream.read(TASK.size)) == TASK.size:
            cpu_s, side_px, preprocessing, name_bytes, data_bytes = TASK.unpack(head)
            signal.setitimer(signal.ITIMER_PROF, cpu_s)
            name, data = stream.read(name_bytes).decode(), stream.read(data_bytes)
            decode = partial(decode_image, data, limits, name, PREPROCESSINGS[preprocessing])
            answer = _answer(name, decode, side_px, memory)
            signal.setitimer(signal.ITIMER_PROF, 0)
            connection.sendall(answer)


def _answer(name: str, decode: Callable[[], Image.Image], side_px: int, memory: NDArray[np.uint8]) -> bytes:
    try:
        pixels = _pixels(decode(), side_px)
        memory[: pixels.size] = pixels.ravel()
    except ImageError as error:
        if _is_out_of_memory(error.__cause__):
            _give_up()
        return _refusal(error)
    except MemoryError:
        _give_up()
    except Exception as error:
        return _refusal(BrokenImage(f"{name} can't be decoded: {error or type(error).__name__}"))
    return ANSWER.pack(0, *pixels.shape[:2], 0)


def _pixels(image: Image.Image, side_px: int) -> NDArray[np.uint8]:
    if not side_px:
        return to_pixels(image)
    image.thumbnail((side_px, side_px))
    return np.asarray(image)


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Whether memory was short, in Python or in one of Pillow's decoders."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and str(error) in _OUT_OF_MEMORY_TEXTS)


def _give_up() -> NoReturn:
    os._exit(OUT_OF_MEMORY)


def _refusal(error: ImageError) -> bytes:
    message = str(error).encode(errors="replace")[:MAX_MESSAGE_BYTES]
    kinds = [place for place, kind in enumerate(ERRORS, start=1) if isinstance(error, kind)]
    return ANSWER.pack(kinds[0] if kinds else len(ERRORS), 0, 0, len(message)) + message


if __name__ == "__main__":
    max_bytes, max_pixels, max_memory_bytes = (None if text == "None" else int(text) for text in sys.argv[2:])
    main(int(sys.argv[1]), ImageLimits(max_bytes or 0, max_pixels or 0, max_memory_bytes))
