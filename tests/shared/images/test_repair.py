"""Damage beside the pixels: PNGs with damaged or huge ancillary chunks, JPEGs whose end is missing."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shared.errors import BrokenImage, UnsupportedImage
from shared.images.decode import decode_image
from shared.images.limits import ImageLimits
from tests.support.fakes import encoded

_HEADER_END = 33  # of a PNG: the signature and IHDR
_HUGE = b"x" * 9_000_000


def _photo(width: int = 320, height: int = 256) -> Image.Image:
    """Noise of all sizes, like a photo's."""
    random = np.random.default_rng(3)
    layers = [
        Image.fromarray(random.integers(0, 256, (side, side, 3), dtype=np.uint8)).resize((width, height))
        for side in (4, 32, 128)
    ]
    return Image.blend(Image.blend(layers[0], layers[1], 0.4), layers[2], 0.2)


def _decoded(data: bytes) -> np.ndarray:
    return np.asarray(decode_image(data, ImageLimits(), "shoe.jpg")).astype(int)


# PNG


def _chunk(kind: bytes, content: bytes, checksum: int | None = None) -> bytes:
    if checksum is None:
        checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def _text(kind: bytes, content: bytes, method: int = 0) -> bytes:
    """A text chunk or a colour profile, compressed."""
    names = {b"zTXt": b"Comment\0", b"iCCP": b"ICC\0", b"iTXt": b"XML:com.adobe.xmp\0\1"}
    between = b"\0\0" if kind == b"iTXt" else b""
    return _chunk(kind, names[kind] + bytes((method,)) + between + zlib.compress(content))


_ODD_CHUNKS = {
    **{
        f"{kind} with a wrong checksum": _chunk(kind.encode(), bytes(9), 1) for kind in ("pHYs", "tIME", "gAMA", "prVt")
    },
    "tEXt with a wrong checksum": _chunk(b"tEXt", b"Comment\0hello", 1),
    "iCCP with a wrong checksum": _chunk(b"iCCP", b"ICC\0\0" + zlib.compress(b"i" * 400), 1),
    "tRNS with a wrong checksum": _chunk(b"tRNS", bytes(6), 1),
    "eXIf with a wrong checksum": _chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\0", 1),
    **{f"{kind.decode()} of 9 MB": _text(kind, _HUGE) for kind in (b"zTXt", b"iTXt", b"iCCP")},
    **{f"{kind.decode()} compressed in another way": _text(kind, b"x", 7) for kind in (b"zTXt", b"iTXt", b"iCCP")},
    "tEXt of 9 MB": _chunk(b"tEXt", b"Comment\0" + _HUGE),
    "many texts of 900 kB": b"".join(_text(b"zTXt", _HUGE[:900_000]) for _ in range(12)),
    **{
        f"empty {kind}": _chunk(kind.encode(), b"") for kind in ("iCCP", "pHYs", "gAMA", "cHRM", "sRGB", "tRNS", "eXIf")
    },
    "acTL cut short": _chunk(b"acTL", b"\0"),
    "fcTL out of order": _chunk(b"acTL", struct.pack(">II", 2, 0)) + _chunk(b"fcTL", struct.pack(">I", 5) + bytes(22)),
}


@pytest.mark.parametrize("name", _ODD_CHUNKS)
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA"])
def test_an_odd_ancillary_chunk_changes_nothing(name: str, mode: str) -> None:
    data = encoded(_photo(40, 30).convert(mode), "PNG")
    odd = data[:_HEADER_END] + _ODD_CHUNKS[name] + data[_HEADER_END:]
    np.testing.assert_array_equal(_decoded(odd), _decoded(data))


@pytest.mark.parametrize("name", _ODD_CHUNKS)
def test_nor_does_one_behind_the_pixels(name: str) -> None:
    data = encoded(_photo(40, 30), "PNG")
    end = len(data) - 12
    np.testing.assert_array_equal(_decoded(data[:end] + _ODD_CHUNKS[name] + data[end:]), _decoded(data))


def test_transparency_and_orientation_outlast_a_damaged_text() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(_photo(40, 30).quantize(16), "PNG", transparency=3, exif=exif)
    odd = data[:_HEADER_END] + _chunk(b"tEXt", b"Comment\0hello", 1) + data[_HEADER_END:]
    found = _decoded(odd)
    assert found.shape == (40, 30, 3)
    np.testing.assert_array_equal(found, _decoded(data))


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE"])
def test_a_damaged_chunk_that_the_pixels_need_is_not_passed_over(kind: bytes) -> None:
    data = bytearray(encoded(_photo(40, 30).quantize(16), "PNG"))
    at = data.index(kind)
    data[at + 4 + int.from_bytes(data[at - 4 : at], "big")] ^= 1
    with pytest.raises(BrokenImage, match=r"shoe\.jpg can't be decoded: "):
        _decoded(bytes(data))


@pytest.mark.parametrize("length", range(8, _HEADER_END))
@pytest.mark.parametrize("kind", [b"IHDR", b"tRNS", b"acTL"])
def test_a_png_without_a_complete_header_is_rejected(kind: bytes, length: int) -> None:
    signature = encoded(_photo(40, 30), "PNG")[:8]
    data = signature + _chunk(kind, bytes(13))[: length - 8]
    with pytest.raises((BrokenImage, UnsupportedImage), match="shoe"):
        _decoded(data + _chunk(b"tRNS", b""))


# JPEG

_JPEGS = [
    {},
    {"progressive": True},
    {"subsampling": 0, "quality": 95},
    {"progressive": True, "subsampling": 0, "quality": 95},
    {"restart_marker_rows": 1},
]


@pytest.mark.parametrize("n_missing", [1, 2, 3, 8, 40])
@pytest.mark.parametrize("options", _JPEGS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_jpeg_that_lacks_its_last_bytes_is_decoded(mode: str, options: dict, n_missing: int) -> None:
    data = encoded(_photo().convert(mode), "JPEG", **options)
    found, expected = _decoded(data[:-n_missing]), _decoded(data)
    n_intact = found.shape[0] * 15 // 16
    assert np.abs(found[:n_intact] - expected[:n_intact]).mean() < 0.5
    if n_missing <= 2:  # the end marker alone
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("options", _JPEGS)
def test_a_cmyk_jpeg_that_lacks_its_end_marker_is_decoded(options: dict) -> None:
    data = encoded(_photo().convert("CMYK"), "JPEG", **options)
    np.testing.assert_array_equal(_decoded(data[:-2]), _decoded(data))


@pytest.mark.parametrize("options", _JPEGS)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_half_a_jpeg_is_rejected(mode: str, options: dict) -> None:
    data = encoded(_photo().convert(mode), "JPEG", **options)
    with pytest.raises(BrokenImage, match=r"shoe\.jpg can't be decoded: .*truncated"):
        _decoded(data[: len(data) // 2])


def test_of_a_jpeg_a_sixteenth_of_the_rows_may_be_missing() -> None:
    data = encoded(_photo(256, 512), "JPEG", restart_marker_rows=1, subsampling=0)
    ends = [at for at in range(len(data)) if data[at] == 0xFF and 0xD0 <= data[at + 1] <= 0xD7]
    assert len(ends) == 63  # 64 rows of blocks
    # The row of blocks in which the data end counts as there.
    assert _decoded(data[: ends[-5] + 20]).shape == (512, 256, 3)
    with pytest.raises(BrokenImage, match=r"shoe\.jpg can't be decoded: it is truncated, 8% of its rows are missing"):
        _decoded(data[: ends[-6] + 20])


def test_a_jpeg_with_white_below_that_lacks_its_end_is_decoded() -> None:
    photo = _photo()
    photo.paste("white", (0, 100, 320, 256))
    data = encoded(photo, "JPEG")
    np.testing.assert_array_equal(_decoded(data[:-2]), _decoded(data))


@pytest.mark.parametrize("n_zeros", [1, 5000])
def test_zeros_instead_of_the_rest_are_no_pixels(n_zeros: int) -> None:
    data = encoded(_photo(), "JPEG")
    np.testing.assert_array_equal(_decoded(data[:-2] + bytes(n_zeros)), _decoded(data))
    with pytest.raises(BrokenImage):
        _decoded(data[: len(data) // 2] + bytes(len(data) // 2))


def test_the_scans_of_a_thumbnail_in_exif_are_not_the_pictures() -> None:
    exif = Image.Exif()
    thumbnail = encoded(_photo(32, 32), "JPEG")
    exif[0x010E] = thumbnail.decode("latin-1")
    data = encoded(_photo(), "JPEG", progressive=True, exif=b"Exif\0\0" + thumbnail)
    with pytest.raises(BrokenImage):
        _decoded(data[: len(data) // 2])


@pytest.mark.clothing
def test_a_real_photo_without_its_last_bytes_keeps_its_pixels(clothing: Path) -> None:
    for path in sorted(clothing.glob("validation/*/*.jpg"))[::60]:
        data = path.read_bytes()
        np.testing.assert_array_equal(_decoded(data[:-2]), _decoded(data))
