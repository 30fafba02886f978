"""The pool's end of one decoder process."""

import mmap
import os
import socket
import time
import weakref
from collections.abc import Callable

import numpy as np

from shared.images.decode_pool.protocol import (
    ANSWER,
    ERRORS,
    MAX_MESSAGE_BYTES,
    PIXELS_BYTES,
    TASK,
    PeerLost,
    receive,
    send,
)
from shared.images.preprocessing import Preprocessing
from shared.vectors import Pixels

WALL_TIME_FACTOR = 10
"""Decoding may take this many times its processor time, for the sake of busy machines."""


class Decoder:
    """A decoder process; used by one thread at a time."""

    def __init__(
        self, process: int, connection: socket.socket, memory: int, end_process: Callable[[int], int | None]
    ) -> None:
        """Take over a process that was just forked.

        Args:
            process: its id.
            connection: to it.
            memory: file descriptor of the memory that it writes pixels to.
            end_process: kills a process, and returns its exit code or minus its signal; None if that is unknown.
        """
        self.owner = os.getpid()
        self.process = process
        self._connection = connection
        self._end_process = end_process
        weakref.finalize(self, connection.close)
        self._memory = np.frombuffer(mmap.mmap(memory, PIXELS_BYTES, prot=mmap.PROT_READ), np.uint8)

    def decode(self, data: bytes, name: str, cpu_s: float, thumbnail_px: int, preprocessing: Preprocessing) -> Pixels:
        """Decode an image in the process; see `DecodePool.decode`.

        Raises:
            ImageError: the image can't be decoded.
            PeerLost: the process has died.
            TimeoutError: it has not answered in time.
        """
        until_s = time.monotonic() + WALL_TIME_FACTOR * cpu_s
        title = name.encode(errors="replace")[:MAX_MESSAGE_BYTES]
        side_px, revision = preprocessing.side_px, preprocessing.revision
        head = TASK.pack(cpu_s, thumbnail_px, side_px, revision, len(title), len(data)) + title
        try:
            self._connection.settimeout(WALL_TIME_FACTOR * cpu_s)
            send(self._connection, head, data)
            kind, height, width, length = ANSWER.unpack(receive(self._connection, ANSWER.size, until_s))
            if kind == 0:
                return self._pixels(height, width, thumbnail_px, side_px)
            message = receive(self._connection, length, until_s).decode(errors="replace")
        except TimeoutError:
            raise
        except OSError as error:
            raise PeerLost from error
        raise ERRORS[min(kind, len(ERRORS)) - 1](message)

    def end(self) -> int | None:
        """Kill the process; return its exit code, or minus the signal that ended it, or None if that is unknown."""
        self._connection.close()
        return self._end_process(self.process)

    def _pixels(self, height: int, width: int, thumbnail_px: int, side_px: int) -> Pixels:
        is_valid = max(height, width) <= thumbnail_px if thumbnail_px else height == width == side_px
        if not is_valid:
            raise PeerLost  # the image has taken control of it
        return self._memory[: height * width * 3].reshape(height, width, 3).copy()
