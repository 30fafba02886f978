"""Images as text: base64 in the ways that clients write it.

Data URLs, line breaks, the URL alphabet and missing padding are read. Plain base64 is decoded where it lies, without a
copy of the text.
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
    """The bytes of an image.

    Args:
        text: ASCII; in JSON's escapes no more.

    Raises:
        InvalidRequest: it is not base64; the message says what is wrong, and at which character.
    """
    start = _after_prefix(text)
    body = text[start:]
    try:
        return _decoded(body)
    except binascii.Error:
        return _decoded(_plain(body, start))


def _decoded(text: Bytes) -> bytes:
    """Decode plain base64: no blanks, padded.

    Raises:
        binascii.Error: it is not.
    """
    out = io.BytesIO()
    for position in range(0, len(text), _PIECE_CHARS):
        piece = text[position : position + _PIECE_CHARS]
        out.write(binascii.a2b_base64(piece, strict_mode=True))
        if position + _PIECE_CHARS < len(text) and piece[-1] == ord("="):
            raise binascii.Error("padding within")
    return out.getvalue()


def _plain(text: Bytes, offset: int) -> bytes:
    """Without blanks, in the usual alphabet and padded; `offset` characters came before the text."""
    given = bytes(text)
    if given.translate(None, _ALLOWED):
        raise _refusal(given, _NOT_ALLOWED, offset)
    plain = given.translate(_URL_ALPHABET, _BLANKS).rstrip(b"=")
    if b"=" in plain:
        raise _refusal(given, _PADDING, offset)
    if len(plain) % 4 == 1:
        raise InvalidRequest(
            f"`image_base64` is not base64: it has {len(plain):,} characters without padding, one too many or cut off"
        )
    return plain + b"=" * (-len(plain) % 4)


def _refusal(text: bytes, wrong: re.Pattern[bytes], offset: int) -> InvalidRequest:
    found = wrong.search(text)
    assert found is not None
    sign = text[found.start() : found.start() + 4].decode("utf-8", "ignore")[:1]
    return InvalidRequest(f"`image_base64` is not base64: found {quoted(sign)} at character {offset + found.start()}")


def _after_prefix(text: Bytes) -> int:
    """Where base64 begins: behind `data:image/jpeg;base64,`, if that is there."""
    head = bytes(text[:_LONGEST_PREFIX])
    if found := _BASE64_URL.match(head):
        return found.end()
    if _DATA_URL.match(head):
        raise InvalidRequest("`image_base64` is a data URL that is not base64; expected `data:image/…;base64,…`")
    return 0
