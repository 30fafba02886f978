"""Read a multipart form: image files in the field `image`, and text fields.

Werkzeug's decoder reads it piece by piece: a part is checked before its data are kept, and files are never written to
disk. Text, part headers and the number of parts are bounded; files are bounded by the limit of the body.
"""

import io
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from flask import Request
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.http import parse_options_header
from werkzeug.sansio.multipart import Data, Epilogue, Event, Field, File, MultipartDecoder, NeedData, State

from search_service.api.bodies.body_limits import JSON_BYTES
from search_service.api.bodies.json_body import require_no_encoding
from shared.errors import BodyTooLarge, InvalidRequest
from shared.text.shorten import quoted

IMAGE_FIELD = "image"
TEXT_FIELD = "text"
FORM = "multipart/form-data"
_MAX_PARTS = 1100  # the largest batch and all options
_PIECE_BYTES = 64 * 1024
_MAX_HEAD_BYTES = 256 * 1024
_CHARSETS = ("utf-8", "us-ascii", "iso-8859-1")
_PLAIN_ENCODINGS = ("", "7bit", "8bit", "binary")
_AS_FILE = "expected a file, as `curl -F image=@photo.jpg` sends it"


@dataclass
class _Form:
    """The parts read so far.

    Attributes:
        known: allowed names of text fields.
        images: contents of the files, in order.
        texts: text fields.
        n_text_bytes: of all text fields.
        is_image_text: True if a field `image` is text.
    """

    known: Collection[str]
    images: list[io.BytesIO] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    n_text_bytes: int = 0
    is_image_text: bool = False

    def begin(self, part: Field | File) -> None:
        """Check the head of a part.

        Raises:
            InvalidRequest: its name is unknown, or it is a file instead of text.
        """
        name: str | None = part.name  # Werkzeug's type promises more than its parser checks
        if name is None:
            raise InvalidRequest("the form has a part without a name")
        encoding = part.headers.get("Content-Transfer-Encoding", "").strip().lower()
        if encoding not in _PLAIN_ENCODINGS:
            raise InvalidRequest(
                f"{quoted(name)} has Content-Transfer-Encoding {quoted(encoding)}; expected plain bytes"
            )
        if isinstance(part, File):
            self._begin_file(name, part.filename)
        elif name == IMAGE_FIELD:
            self.is_image_text = True
        elif name not in self.known:
            raise InvalidRequest(
                f"unknown field {quoted(name)}; expected one of: {', '.join((IMAGE_FIELD, *self.known))}"
            )
        elif name in self.texts:
            raise InvalidRequest(f"`{name}` was given more than once")

    def _begin_file(self, name: str, filename: str) -> None:
        if name != IMAGE_FIELD:
            if name in self.known:
                raise InvalidRequest(f"`{name}` is a file; expected text, and the image file in the field `image`")
            raise InvalidRequest(f"unknown file field {quoted(name)}; expected the image file in the field `image`")
        self.images.append(io.BytesIO())

    def add(self, part: Field | File, data: bytes) -> None:
        """Add data of a part.

        Raises:
            BodyTooLarge: all text fields together have more than `JSON_BYTES`.
        """
        if isinstance(part, File):
            self.images[-1].write(data)
            return
        self.n_text_bytes += len(data)
        if self.n_text_bytes > JSON_BYTES:
            if part.name == IMAGE_FIELD:
                raise InvalidRequest(f"`image` is text of more than {JSON_BYTES:,} bytes; {_AS_FILE}")
            raise BodyTooLarge(
                f"the text fields of the form, up to {quoted(part.name)}, have more than {JSON_BYTES:,} bytes"
            )


def read_parts(request: Request, known: Collection[str], max_images: int) -> tuple[list[bytes], dict[str, str]]:
    """Read the files `image`, one at least unless there is a field `text`, and the text fields.

    Args:
        request: not read yet.
        known: allowed names of text fields.
        max_images: largest number of files.

    Raises:
        UnsupportedBody: the body is compressed.
        InvalidRequest: not a form, no file or too many, an unknown field, or a duplicate one.
        BodyTooLarge: too much text.
    """
    require_no_encoding(request)
    form = _Form(known)
    part: Field | File | None = None
    text = bytearray()
    for event in _events(request):
        if isinstance(event, Field | File):
            form.begin(event)
            part, text = event, bytearray()
        elif isinstance(event, Data) and part is not None:
            form.add(part, event.data)
            if isinstance(part, Field) and part.name != IMAGE_FIELD:
                text += event.data
                if not event.more_data:
                    form.texts[part.name] = _text(part, bytes(text))
    _require_images(form, max_images)
    return [image.getvalue() for image in form.images], form.texts


def _require_images(form: _Form, max_images: int) -> None:
    n_images = len(form.images)
    least = 0 if max_images == 1 and TEXT_FIELD in form.texts else 1
    if least <= n_images <= max_images and not form.is_image_text:
        return
    expected = "expected 1" if max_images == 1 else f"expected 1 to {max_images}"
    if n_images == 0 and max_images == 1 and TEXT_FIELD in form.known:
        expected += f", or the field `{TEXT_FIELD}`"
    if form.is_image_text:
        expected = f"`image` is text; {_AS_FILE}"
    files = "1 file" if n_images == 1 else f"{n_images} files"
    raise InvalidRequest(f"the form has {files} in the field `image`; {expected}")


def _events(request: Request) -> Iterator[Event]:
    """Yield the parts of a form, in pieces.

    Raises:
        InvalidRequest: the body does not match the boundary of its content type, or has too many parts.
    """
    boundary = request.mimetype_params.get("boundary", "")
    if not boundary:
        raise InvalidRequest(
            "the Content-Type has no boundary; expected `multipart/form-data; boundary=…`, which HTTP clients add if"
            " you do not set the Content-Type yourself"
        )
    decoder = MultipartDecoder(boundary.encode("utf-8", "surrogateescape"), _MAX_HEAD_BYTES, max_parts=_MAX_PARTS)
    while decoder.state is not State.EPILOGUE:
        piece = request.stream.read(_PIECE_BYTES)
        try:
            decoder.receive_data(piece or None)
            yield from _decoded(decoder)
        except RequestEntityTooLarge:
            raise InvalidRequest(_too_much(decoder)) from None
        except ValueError as error:
            raise InvalidRequest(_broken(decoder, ended=not piece)) from error
        if not piece:
            return


def _decoded(decoder: MultipartDecoder) -> Iterator[Event]:
    while decoder.state is not State.EPILOGUE:
        event = decoder.next_event()
        if isinstance(event, NeedData | Epilogue):
            return
        yield event


def _too_much(decoder: MultipartDecoder) -> str:
    if decoder.state is State.PREAMBLE:
        return (
            f"the form does not begin within {_MAX_HEAD_BYTES:,} bytes: the body lacks the boundary of the Content-Type"
        )
    if decoder.state is State.PART:
        return f"the form has a part whose headers have more than {_MAX_HEAD_BYTES:,} bytes"
    return f"the form has more than {_MAX_PARTS:,} parts"


def _broken(decoder: MultipartDecoder, ended: bool) -> str:
    if not ended:
        return "the form has a part without a valid Content-Disposition header"
    if decoder.state is State.PREAMBLE:
        return "the form is empty: the body lacks the boundary of the Content-Type"
    return "the form is incomplete: the closing boundary, which ends with --, is missing"


def _text(part: Field, data: bytes) -> str:
    _, parameters = parse_options_header(part.headers.get("Content-Type", ""))
    charset = parameters.get("charset", "utf-8").lower()
    try:
        return data.decode(charset if charset in _CHARSETS else "utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest(f"`{part.name}` is not UTF-8 text") from None
