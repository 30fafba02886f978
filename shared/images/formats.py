"""The supported image formats, and the detection of other kinds of files that are sent as images.

A file is identified by its first bytes: suffixes and declared types are often wrong.
"""

import re
from collections.abc import Mapping

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "AVIF")
"""The supported formats, by Pillow's names."""
MEDIA_TYPES: Mapping[str, str] = {
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".jpe": "image/jpeg",
    ".jfif": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".bmp": "image/bmp",
    ".avif": "image/avif",
}
"""By the suffix of a file's name, in lower case. Python's `mimetypes` depends on the host's table."""
SUFFIXES = frozenset(MEDIA_TYPES)
HEAD_BYTES = 1024
"""The number of bytes, from the beginning of a file, that identify it."""

_SIGNATURES = (
    (re.compile(rb"\xff\xd8\xff(?!\xf7)"), "JPEG"),  # 0xF7 begins a JPEG-LS
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "PNG"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "WEBP"),
    (re.compile(rb"GIF8[79]a"), "GIF"),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), "TIFF"),
    (re.compile(rb"BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0", re.DOTALL), "BMP"),  # the length of its header
)
_OTHER_SIGNATURES = (
    (b"\x89PNG", "a PNG image that a transfer in text mode has damaged"),
    (b"\xff\xd8\xff\xf7", "a JPEG-LS image"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 image"),
    (b"II\xbc", "a JPEG XR image"),
    (b"8BPS", "a Photoshop file"),
    (b"\0\0\1\0", "an icon (ICO)"),
    (b"\0\0\2\0", "a cursor (CUR)"),
    (b"DDS ", "a DDS texture"),
    (b"qoif", "a QOI image"),
    (b"v/1\1", "an OpenEXR image"),
    (b"#?RADIANCE", "a Radiance HDR image"),
    (b"BPG\xfb", "a BPG image"),
    (b"gimp xcf", "a GIMP file"),
    (b"FUJIFILMCCD-RAW", "a raw camera image"),
    (b"IIRO", "a raw camera image"),
    (b"IIU\0", "a raw camera image"),
    (b"FOVb", "a raw camera image"),
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript file"),
    (b"\xc5\xd0\xd3\xc6", "a PostScript file"),
    (b"{\\rtf", "an RTF document"),
    (b"\xd0\xcf\x11\xe0", "an Office document"),
    (b"PK\3\4", "a ZIP archive, or an Office document"),
    (b"PK\5\6", "a ZIP archive"),
    (b"Rar!\x1a\7", "a RAR archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"BZh", "a bzip2 file"),
    (b"\xfd7zXZ\0", "an xz file"),
    (b"\x28\xb5\x2f\xfd", "a Zstandard file"),
    (b"\x1a\x45\xdf\xa3", "a WebM or Matroska video"),
    (b"FLV\1", "a Flash video"),
    (b"\0\0\1\xba", "an MPEG video"),
    (b"\0\0\1\xb3", "an MPEG video"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media file"),
    (b"OggS", "an Ogg file"),
    (b"ID3", "an MP3 sound"),
    (b"fLaC", "a FLAC sound"),
    (b"\0\5\x16\7", "an AppleDouble file, which macOS stores beside a photo"),
    (b"\0\5\x16\0", "an AppleSingle file"),
    (b"bplist", "a property list"),
    (b"SQLite format 3\0", "an SQLite database"),
    (b"PAR1", "a Parquet file"),
    (b"\x93NUMPY", "a NumPy array"),
    (b"\x7fELF", "a program"),
)
_RIFF_KINDS: Mapping[bytes, str] = {b"AVI ": "an AVI video", b"WAVE": "a WAV sound"}
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
_OTHER_BRANDS: Mapping[bytes, str] = {
    b"crx ": "a raw camera image",
    b"jp2 ": "a JPEG 2000 image",
    b"jxl ": "a JPEG XL image",
    b"M4A ": "an MPEG-4 sound",
}
_HTML = re.compile(r"<!doctype html|<(?:html|head|body|script|title)\b")
_BASE64 = re.compile(r"(?:/9j/|iVBORw0KGgo|R0lGOD|UklGR)[\w+/=\s-]*\Z")
_TEXT_KINDS = (
    (re.compile(r"version https://git-lfs"), "a Git LFS pointer, not the file itself"),
    (re.compile(r"data:image/"), "the text of a data URL, not the bytes that it encodes"),
    (_BASE64, "base64 text, not the bytes that it encodes"),
    (re.compile(r"<svg\b|<!doctype svg"), "an SVG drawing"),
    (_HTML, "an HTML page"),
    (re.compile(r"[{\[]"), "JSON text"),
)
_CONTROL_CHARACTERS = re.compile(r"[\0-\x08\x0e-\x1a\x1c-\x1f]")


def image_format(head: bytes) -> str | None:
    """The format of an image file, one of `FORMATS`; None for any other.

    Args:
        head: the file's first bytes, `HEAD_BYTES` or more.
    """
    if _AVIF_BRANDS & set(_brands(head)):
        return "AVIF"
    return next((name for signature, name in _SIGNATURES if signature.match(head)), None)


def other_kind(head: bytes) -> str | None:
    """The kind of a file in none of `FORMATS`, with its article: "a HEIC image"; None if it is unknown.

    Args:
        head: the file's first bytes, `HEAD_BYTES` or more.
    """
    head = head[:HEAD_BYTES]
    if head and not head.strip(b"\0"):
        return "nothing but zero bytes"
    if brands := _brands(head):
        return _kind_of_brands(brands)
    if head.startswith(b"RIFF") and head[8:12] in _RIFF_KINDS:
        return _RIFF_KINDS[head[8:12]]
    binary_kind = next((kind for signature, kind in _OTHER_SIGNATURES if head.startswith(signature)), None)
    return binary_kind or _kind_of_text(head)


def _brands(head: bytes) -> list[bytes]:
    """The major and the compatible brands of an ISO media file: HEIC, AVIF, MP4 and others."""
    if head[4:8] != b"ftyp":
        return []
    length = min(int.from_bytes(head[:4], "big"), HEAD_BYTES)
    return [head[8:12], *(head[start : start + 4] for start in range(16, length - 3, 4))]


def _kind_of_brands(brands: list[bytes]) -> str:
    if _HEIC_BRANDS & set(brands):
        return "a HEIC image"
    return _OTHER_BRANDS.get(brands[0], "an MP4 or QuickTime video")


def _kind_of_text(head: bytes) -> str | None:
    text = _decoded(head)
    if text is None or _CONTROL_CHARACTERS.search(text):
        return None
    text = text.strip()
    for pattern, kind in _TEXT_KINDS:
        if pattern.match(text) or pattern.match(text.lower()):
            return kind
    if text.startswith("<"):  # after a declaration or a comment
        if "<svg" in text:
            return "an SVG drawing"
        return "an HTML page" if _HTML.search(text.lower()) else "an XML document"
    return "a text file"


def _decoded(head: bytes) -> str | None:
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return head[: HEAD_BYTES // 2 * 2].decode(encoding)
    except UnicodeDecodeError as error:
        is_cut = len(head) == HEAD_BYTES and error.start >= HEAD_BYTES - 4
        return head[: error.start].decode(encoding) if is_cut else None
