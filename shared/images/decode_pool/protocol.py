"""The messages between a decode pool, its template process and its decoders, over sockets."""

import socket
import struct
import time

from shared.errors import BrokenImage, ImageError, ImageTooLarge, UnsupportedImage
from shared.images.preprocessing import MAX_SIDE_PX

MAX_THUMBNAIL_PX = 360
"""The longest side of a thumbnail."""
PIXELS_BYTES = max(MAX_THUMBNAIL_PX, MAX_SIDE_PX) ** 2 * 3
"""The size of the memory that a decoder shares with the pool."""
OUT_OF_MEMORY = 77
"""Exit status of a decoder whose image took more memory than it may have."""

COMMAND = struct.Struct("=cqi")
"""To the template: `FORK`, bytes of memory and niceness, with the decoder's socket and its shared memory; or `END` and
a process id. The answer to both is a `NUMBER`."""
FORK, END = b"F", b"E"
NUMBER = struct.Struct("=i")
"""The id of a forked process, or 0 if there are no resources for it; for `END`, the exit code or minus the signal."""
TASK = struct.Struct("=dHHBHQ")
"""To a decoder: seconds of processor time; 0 for the embedder's square, or the longest side of a thumbnail in pixels;
side and revision of the preprocessing; bytes of the image's name, bytes of the image. Name and image follow."""
ANSWER = struct.Struct("=BHHH")
"""From a decoder: 0, or 1 + the index of the error in `ERRORS`; height and width of the pixels; bytes of the message
that follows."""
ERRORS: tuple[type[ImageError], ...] = (ImageTooLarge, UnsupportedImage, BrokenImage)
MAX_MESSAGE_BYTES = 4096

_MIN_TIMEOUT_S = 0.001


class PeerLost(Exception):
    """The process at the other end of a socket has died."""


def send(connection: socket.socket, head: bytes, body: bytes) -> None:
    """Send both in one call where there is room, so that the receiver wakes up once."""
    sent = connection.sendmsg([head, body])
    if sent < len(head):
        connection.sendall(head[sent:])
        sent = len(head)
    if rest := memoryview(body)[sent - len(head) :]:
        connection.sendall(rest)


def receive(connection: socket.socket, size: int, until_s: float) -> bytes:
    """Receive exactly `size` bytes.

    Args:
        connection: a connected socket.
        size: number of bytes.
        until_s: when to give up, on the clock of `time.monotonic`.

    Raises:
        PeerLost: the other end was closed before.
        TimeoutError: the bytes did not arrive in time.
    """
    received = b""
    while len(received) < size:
        connection.settimeout(max(_MIN_TIMEOUT_S, until_s - time.monotonic()))
        part = connection.recv(size - len(received))
        if not part:
            raise PeerLost
        received += part
    return received
