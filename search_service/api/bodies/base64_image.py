"""Images as base64, as clients write it: also data URLs, line breaks, the URL alphabet and missing padding.

Plain base64 is decoded in place, without a copy of the text.
"""

import binascii
import io
import re
from typing import TypeAlias

from shared.errors import InvalidRequest
from shared.text.shorten import quoted

Bytes: TypeAlias = bytes | memoryview

_PIECE_CHARS = 1024 * 1024  # a multiple of 4; other threads run between two pieces
_LONGEST_PREFIX = 200
_DATA_URL = re.compile(rb"\s*data:[^,]*,", re.IGNORECASE)
_BASE64_URL = re.compile(rb"\s*data:[^,]*;\s*base64\s*,", re.IGNORECASE)
_BLANKS = b" \t\r\n\f\v"
_URL_ALPHABET = bytes.maketrans(b"-_", b"+/")
_ALLOWED = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=" + _BLANKS
_NOT_ALLOWED = re.compile(rb"[^A-Za-z0-9+/_= \t\r\n\f\v-]")
_PADDING = re.compile(rb"=")


def decode_base64(text: Bytes) -> bytes:
    """Return the bytes of an image.

    Args:
        text: ASCII, without JSON escapes.

    Raises:
        InvalidRequest: not base64; the message has the position.
    """
    start = _after_prefix(text)
    body = text[start:]
    try:
        return _decoded(body)
    except binascii.Error:
        return _decoded(_plain(body, start))


def _decoded(text: Bytes) -> bytes:
    """Decode plain base64: without whitespace, padded.

    Raises:
        binascii.Error: not plain base64.
    """
    out = io.BytesIO()
    for position in range(0, len(text), _PIECE_CHARS):
        piece = text[position : position + _PIECE_CHARS]
        out.write(binascii.a2b_base64(piece, strict_mode=True))
        if position + _PIECE_CHARS < len(text) and piece[-1] == ord("="):
            raise binascii.Error("padding within")
    return out.getvalue()


def _plain(text: Bytes, offset: int) -> bytes:
    """Return plain base64; `offset` characters precede the text, for messages."""
    given = bytes(text)
    if given.translate(None, _ALLOWED):
        raise _error(given, _NOT_ALLOWED, offset)
    plain = given.translate(_URL_ALPHABET, _BLANKS).rstrip(b"=")
    if b"=" in plain:
        raise _error(given, _PADDING, offset)
    if len(plain) % 4 == 1:
        raise InvalidRequest(
            f"`image_base64` is not base64: it has {len(plain):,} characters without padding, one too many or cut off"
        )
    return plain + b"=" * (-len(plain) % 4)


def _error(text: bytes, wrong: re.Pattern[bytes], offset: int) -> InvalidRequest:
    match = wrong.search(text)
    assert match is not None
    char = text[match.start() : match.start() + 4].decode("utf-8", "ignore")[:1]
    return InvalidRequest(
        f"`image_base64` is not base64: unexpected {quoted(char)} at character {offset + match.start()}"
    )


def _after_prefix(text: Bytes) -> int:
    """Return where base64 begins: after `data:image/jpeg;base64,`, if present."""
    head = bytes(text[:_LONGEST_PREFIX])
    if match := _BASE64_URL.match(head):
        return match.end()
    if _DATA_URL.match(head):
        raise InvalidRequest("`image_base64` is a data URL that is not base64; expected `data:image/…;base64,…`")
    return 0
