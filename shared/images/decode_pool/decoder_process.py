"""The child processes of a decode pool: a template that has imported Pillow, and the decoders forked from it.

1. The template imports what decoding needs, then forks a decoder whenever the pool asks for one, in milliseconds.
2. A decoder irrevocably limits its own memory, files and signals, then decodes one image at a time, each within a limit
   of processor time. It writes pixels into memory shared with the pool, and reports the outcome over a socket.

A decoder that exceeds a limit dies: of SIGPROF, or with the status `OUT_OF_MEMORY`. The pool reads its answers as
nothing but numbers and text, so hostile bytes that take control of a decoder can do no more than a decoder may.
"""

import contextlib
import ctypes
import gc
import mmap
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image, MpoImagePlugin, TiffImagePlugin, WebPImagePlugin  # noqa: F401  (registers them)

from shared.errors import ImageError
from shared.images.decode import broken_image, decode_image
from shared.images.decode_pool.protocol import (
    ANSWER,
    COMMAND,
    ERRORS,
    FORK,
    MAX_MESSAGE_BYTES,
    NUMBER,
    OUT_OF_MEMORY,
    PIXELS_BYTES,
    TASK,
)
from shared.images.formats import FORMATS
from shared.images.limits import ImageLimits
from shared.images.preprocessing import Preprocessing, to_pixels

_MAX_FILES = 16
# Pillow's messages for the status -9 of its decoders, which is out of memory.
_OUT_OF_MEMORY_MESSAGES = ("-9", "decoder error -9", "out of memory")
_PR_SET_PDEATHSIG = 1
_OOM_SCORE = "500"


@dataclass(frozen=True)
class _DecoderArguments:
    """A new decoder's end of the socket and its shared memory, as file descriptors, and its limits."""

    connection: int
    memory: int
    budget_bytes: int
    niceness: int


def main(control: int, limits: ImageLimits) -> None:
    """Run the template: fork decoders until the pool is gone.

    Args:
        control: file descriptor of the template's end of its socket.
        limits: decoders reject larger images.
    """
    _ignore_signals()
    if any(name not in Image.OPEN for name in FORMATS):
        Image.init()  # else each decoder would do it
    gc.freeze()  # memory that is never collected is never copied
    with socket.socket(fileno=control) as pool:
        while True:
            command, files, _, _ = socket.recv_fds(pool, COMMAND.size, 2, socket.MSG_WAITALL)
            if len(command) < COMMAND.size:
                return
            kind, number, niceness = COMMAND.unpack(command)
            if kind == FORK:
                answer = _fork(pool, _DecoderArguments(files[0], files[1], number, niceness), limits)
            else:
                answer = _end(number)
            pool.sendall(NUMBER.pack(answer))


def _fork(pool: socket.socket, arguments: _DecoderArguments, limits: ImageLimits) -> int:
    template = os.getpid()
    try:
        process = os.fork()
    except OSError:
        process = -1
    if process == 0:
        status = 1
        try:
            pool.close()
            _run_decoder(arguments, limits, template)
            status = 0
        finally:
            os._exit(status)
    os.close(arguments.connection)
    os.close(arguments.memory)
    return max(0, process)


def _end(process: int) -> int:
    """Kill a decoder; return its exit code or minus its signal, which of a dead one is that of its death."""
    try:
        os.kill(process, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    except OSError:  # not a decoder of this template
        return -signal.SIGKILL


def _ignore_signals() -> None:
    """Leave Ctrl-C and stops to the process that has the pool, which may be busy with images; its end ends these."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)


def _run_decoder(arguments: _DecoderArguments, limits: ImageLimits, template: int) -> None:
    with contextlib.suppress(OSError, AttributeError):  # Linux
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != template:
        return
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, sys.stderr.fileno())
    os.nice(arguments.niceness)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    with mmap.mmap(arguments.memory, PIXELS_BYTES) as memory, socket.socket(fileno=arguments.connection) as connection:
        _limit_resources(arguments.budget_bytes)
        _serve(connection, np.frombuffer(memory, np.uint8), limits)


def _limit_resources(budget_bytes: int) -> None:
    """Set limits that this process can't lift again."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write(_OOM_SCORE)  # where the machine has no memory left, a decoder is killed first
    with contextlib.suppress(OSError), open("/proc/self/statm") as file:
        mapped = int(file.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + budget_bytes,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (_MAX_FILES, _MAX_FILES))


def _serve(connection: socket.socket, memory: NDArray[np.uint8], limits: ImageLimits) -> None:
    with connection.makefile("rb") as stream:
        while len(head := stream.read(TASK.size)) == TASK.size:
            cpu_s, thumbnail_px, side_px, revision, name_bytes, data_bytes = TASK.unpack(head)
            signal.setitimer(signal.ITIMER_PROF, cpu_s)
            name, data = stream.read(name_bytes).decode(), stream.read(data_bytes)
            preprocessing = Preprocessing(side_px, revision)
            decode = partial(_pixels, data, limits, name, preprocessing, thumbnail_px)
            answer = _answer(name, decode, memory)
            signal.setitimer(signal.ITIMER_PROF, 0)
            connection.sendall(answer)


def _answer(name: str, decode: Callable[[], NDArray[np.uint8]], memory: NDArray[np.uint8]) -> bytes:
    try:
        pixels = decode()
        memory[: pixels.size] = pixels.ravel()
    except ImageError as error:
        if _is_out_of_memory(error.__cause__):
            _exit_out_of_memory()
        return _error_answer(error)
    except MemoryError:
        _exit_out_of_memory()
    except Exception as error:
        return _error_answer(broken_image(name, error))
    return ANSWER.pack(0, *pixels.shape[:2], 0)


def _pixels(
    data: bytes, limits: ImageLimits, name: str, preprocessing: Preprocessing, thumbnail_px: int
) -> NDArray[np.uint8]:
    image = decode_image(data, limits, name, preprocessing)
    if not thumbnail_px:
        return to_pixels(image, preprocessing.side_px)
    image.thumbnail((thumbnail_px, thumbnail_px))
    return np.asarray(image)


def _is_out_of_memory(error: BaseException | None) -> bool:
    """Return True if memory ran out, in Python or in one of Pillow's decoders."""
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and str(error) in _OUT_OF_MEMORY_MESSAGES)


def _exit_out_of_memory() -> NoReturn:
    os._exit(OUT_OF_MEMORY)


def _error_answer(error: ImageError) -> bytes:
    message = str(error).encode(errors="replace")[:MAX_MESSAGE_BYTES]
    kinds = [number for number, kind in enumerate(ERRORS, start=1) if isinstance(error, kind)]
    return ANSWER.pack(kinds[0] if kinds else len(ERRORS), 0, 0, len(message)) + message


if __name__ == "__main__":
    max_bytes, max_pixels, max_memory_bytes = (None if text == "None" else int(text) for text in sys.argv[2:])
    main(int(sys.argv[1]), ImageLimits(max_bytes or 0, max_pixels or 0, max_memory_bytes))
