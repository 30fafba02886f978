"""The detection of file formats by their first bytes."""

import io
import zipfile

import pytest
from PIL import Image

from shared.errors import BrokenImage, UnsupportedImage
from shared.images.decode import decode_image
from shared.images.formats import FORMATS, MEDIA_TYPES, image_format, other_kind
from shared.images.limits import ImageLimits
from tests.support.fakes import encoded


def _ftyp(*brands: bytes) -> bytes:
    content = brands[0] + bytes(4) + b"".join(brands[1:])
    return (len(content) + 8).to_bytes(4, "big") + b"ftyp" + content + b"\0\0\0\x08meta" + bytes(40)


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("shoe.jpg", b"")
    return file.getvalue()


_TEXT_MODE = "a PNG image that a transfer in text mode has damaged"
_KINDS = {
    "HEIC": (_ftyp(b"heic", b"mif1", b"heic"), "a HEIC image"),
    "HEIC of several": (_ftyp(b"heix", b"mif1"), "a HEIC image"),
    "HEIC of a general brand": (_ftyp(b"mif1", b"miaf", b"heic"), "a HEIC image"),
    "MP4": (_ftyp(b"isom", b"iso2", b"avc1"), "an MP4 or QuickTime video"),
    "QuickTime": (_ftyp(b"qt  "), "an MP4 or QuickTime video"),
    "Canon raw": (_ftyp(b"crx ", b"isom"), "a raw camera image"),
    "WebM": (b"\x1a\x45\xdf\xa3" + bytes(60), "a WebM or Matroska video"),
    "AVI": (b"RIFF\0\0\1\0AVI LIST" + bytes(60), "an AVI video"),
    "JPEG XL": (b"\xff\x0a" + bytes(60), "a JPEG XL image"),
    "JPEG XL in a container": (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(60), "a JPEG XL image"),
    "JPEG 2000": (encoded(Image.new("RGB", (9, 9)), "JPEG2000"), "a JPEG 2000 image"),
    "JPEG 2000 without a container": (encoded(Image.new("RGB", (9, 9)), "JPEG2000", no_jp2=True), "a JPEG 2000 image"),
    "icon": (encoded(Image.new("RGB", (16, 16)), "ICO"), "an icon (ICO)"),
    "Photoshop": (b"8BPS\0\1" + bytes(60), "a Photoshop file"),
    "DDS": (encoded(Image.new("RGB", (9, 9)), "DDS"), "a DDS texture"),
    "PDF": (encoded(Image.new("RGB", (9, 9)), "PDF"), "a PDF document"),
    "ZIP": (_zip(), "a ZIP archive, or an Office document"),
    "gzip": (b"\x1f\x8b\x08" + bytes(60), "a gzip file"),
    "AppleDouble": (b"\0\5\x16\7\0\2\0\0Mac OS X        ", "an AppleDouble file, which macOS stores beside a photo"),
    "PNG with other line ends": (b"\x89PNG\n\x1a\n" + bytes(60), _TEXT_MODE),
    "zeros": (bytes(5000), "nothing but zero bytes"),
    "HTML": (b"<!DOCTYPE html><title>404 Not Found</title>", "an HTML page"),
    "HTML in capitals behind spaces": (b"\r\n\t <HTML><BODY>", "an HTML page"),
    "HTML behind a comment": (b"<!-- error --><html>", "an HTML page"),
    "HTML with a byte-order mark": (b"\xef\xbb\xbf<html>", "an HTML page"),
    "XHTML": (b'<?xml version="1.0"?><!DOCTYPE html PUBLIC "x"><html>', "an HTML page"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "an SVG drawing"),
    "SVG behind a declaration": (b"<?xml version='1.0'?>\n<!-- drawn -->\n<svg/>", "an SVG drawing"),
    "SVG in UTF-16": ("<svg/>".encode("utf-16"), "an SVG drawing"),
    "XML": (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "an XML document"),
    "JSON": (b'{"error": "not found"}', "JSON text"),
    "LFS pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        "a Git LFS pointer, not the file itself",
    ),
    "data URL": (b"data:image/png;base64,iVBORw0KGgo=", "the text of a data URL, not the bytes that it encodes"),
    "base64": (b"/9j/4AAQSkZJRgABAQ" * 100, "base64 text, not the bytes that it encodes"),
    "text": (b"not found\n", "a text file"),
    "text of another alphabet, cut within a letter": (("a" + "é" * 2000).encode(), "a text file"),
}


@pytest.mark.parametrize("name", _KINDS)
def test_other_files_are_named_for_what_they_are(name: str) -> None:
    data, kind = _KINDS[name]
    with pytest.raises(UnsupportedImage) as rejected:
        decode_image(data, ImageLimits(), "shoe.jpg")
    said = f"shoe.jpg is not an image that can be read: it is {kind}; expected one of {', '.join(FORMATS)}"
    assert str(rejected.value) == said


@pytest.mark.parametrize("data", [b"\1\2\3", b"\xfe\xdc\xba" * 50, b"text with \0 in it", b"GIF8\0"])
def test_what_is_in_no_known_format_is_not_named(data: bytes) -> None:
    assert other_kind(data) is None
    with pytest.raises(
        UnsupportedImage,
        match=r"shoe\.jpg is not an image that can be read: its format is unknown; expected one of JPEG",
    ):
        decode_image(data, ImageLimits(), "shoe.jpg")


@pytest.mark.parametrize("file_format", FORMATS)
def test_images_that_are_read_are_told_by_their_beginning(file_format: str) -> None:
    data = encoded(Image.new("RGB", (9, 9)), file_format)
    assert image_format(data) == file_format
    assert image_format(b"\n" + data) is None


@pytest.mark.parametrize("file_format", FORMATS)
def test_what_begins_as_an_image_and_is_none_is_broken(file_format: str) -> None:
    head = encoded(Image.new("RGB", (9, 9)), file_format)[:32]
    with pytest.raises(BrokenImage, match=r"shoe\.jpg can't be decoded: "):
        decode_image(head + b"\xaa" * 500, ImageLimits(), "shoe.jpg")


def test_every_format_has_a_media_type() -> None:
    assert set(MEDIA_TYPES.values()) == {f"image/{name.lower()}" for name in FORMATS}
    registered = Image.registered_extensions()
    assert all(Image.MIME[registered[suffix]] == kind for suffix, kind in MEDIA_TYPES.items())
