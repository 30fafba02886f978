"""A request while its bytes come in: when it is whole, and may take a thread. Knows nothing of sockets."""

import re

MAX_HEAD_BYTES = 128 * 1024
"""What is longer has no head that would be accepted: it is handed on, to be refused."""

_END_OF_HEAD = b"\r\n\r\n"
_END_OF_CHUNKS = b"\r\n0\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,18})[ \t]*(?=\r\n)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)
_EXPECT = re.compile(rb"\r\nexpect:[ \t]*100-continue[ \t]*(?=\r\n)", re.IGNORECASE)


class ArrivingRequest:
    """Collects the bytes of one request.

    It reads no more of HTTP than where the request ends: what is no request is whole as soon as that is sure, and the
    parser behind refuses it.
    """

    def __init__(self, max_body_bytes: int) -> None:
        """Nothing has come yet.

        Args:
            max_body_bytes: a longer body is not waited for.
        """
        self._max_body_bytes = max_body_bytes
        self._bytes = bytearray()
        self._searched = 0
        self._end: int | None = None
        self._is_chunked = False
        self._is_too_long = False
        self.wants_continue = False
        """Whether the client sends its body only when it is told to; set to False when that was done."""

    def __len__(self) -> int:
        """Bytes so far."""
        return len(self._bytes)

    def add(self, data: bytes) -> None:
        """Take what came."""
        self._bytes += data
        if self._end is None and not self._is_chunked:
            self._look_for_head()

    @property
    def is_whole(self) -> bool:
        """Whether it need not be waited for any longer."""
        if self._is_too_long:
            return True
        if self._end is not None:
            return len(self._bytes) >= self._end
        if self._is_chunked:
            return self._bytes.endswith(_END_OF_CHUNKS) or len(self._bytes) > self._max_body_bytes
        return len(self._bytes) > MAX_HEAD_BYTES

    def take(self) -> tuple[bytes, bytes]:
        """The request, and what the client has sent behind it."""
        end = len(self._bytes) if self._end is None or self._is_too_long else self._end
        return bytes(self._bytes[:end]), bytes(self._bytes[end:])

    def _look_for_head(self) -> None:
        found = self._bytes.find(_END_OF_HEAD, self._searched)
        if found < 0:
            self._searched = max(0, len(self._bytes) - len(_END_OF_HEAD) + 1)
            return
        head = self._bytes[: found + 2]
        start = found + len(_END_OF_HEAD)
        if _EXPECT.search(head):
            # It is answered here, and once: the parser behind would do so again.
            self.wants_continue = len(self._bytes) == start and b" HTTP/1.0\r\n" not in head
            head = bytearray(_EXPECT.sub(b"", head))
            self._bytes[: found + 2] = head
            start = len(head) + 2
        length = _LENGTH.search(head)
        if _CHUNKED.search(head):
            self._is_chunked = True
        else:
            self._end = start + (int(length[1]) if length else 0)
            self._is_too_long = self._end - start > self._max_body_bytes
        if self._end == start or self._is_too_long:
            self.wants_continue = False
