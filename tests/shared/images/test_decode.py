"""Decoding: formats, modes, orientation, limits, damage; and the square that the embedder takes."""

import io
import struct
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from shared.errors import BrokenImage, ImageError, ImageTooLarge, UnsupportedImage
from shared.images import decode, preprocessing, rgb
from shared.images.formats import FORMATS, SUFFIXES
from shared.images.limits import ImageLimits
from shared.images.preprocessing import FIRST_REVISION, NEWEST_REVISION, Preprocessing
from tests.support.fakes import encoded, picture

_SIDE_PX = 224  # which sizes and expected pixels below are for
decode_image = partial(decode.decode_image, preprocessing=Preprocessing(_SIDE_PX))
to_pixels = partial(preprocessing.to_pixels, side_px=_SIDE_PX)
_LIMITS = ImageLimits()
_OPTIONS = {
    "JPEG": {"quality": 95, "subsampling": 0},
    "PNG": {},
    "WEBP": {"lossless": True},
    "GIF": {},
    "TIFF": {},
    "BMP": {},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}
_LOSSY = {"JPEG", "AVIF"}
_WHITE = 255
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def _decoded(data: bytes) -> np.ndarray:
    image = decode_image(data, _LIMITS)
    assert image.mode == "RGB"
    return np.asarray(image).astype(int)


def _quarters(width: int = 48, height: int = 32) -> Image.Image:
    """Four colours that tell every turn and mirroring apart; few enough for a GIF."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[: height // 2, : width // 2] = (250, 20, 20)
    pixels[: height // 2, width // 2 :] = (20, 200, 20)
    pixels[height // 2 :, : width // 2] = (20, 20, 250)
    pixels[height // 2 :, width // 2 :] = (240, 230, 10)
    return Image.fromarray(pixels)


def _noise(width: int = 24, height: int = 18) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def _ramps(width: int, height: int) -> Image.Image:
    across = np.linspace(0, 255, width)[np.newaxis].repeat(height, axis=0)
    down = np.linspace(0, 255, height)[:, np.newaxis].repeat(width, axis=1)
    return Image.fromarray(np.stack([across, down, 255 - across], axis=-1).astype(np.uint8))


def _textured(width: int, height: int) -> Image.Image:
    """Large spots of colour under a fine grey pattern, as photos have them."""
    random = np.random.default_rng(5)
    colours = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8)).resize((width, height))
    pattern = Image.fromarray(random.integers(0, 256, (150, 150), dtype=np.uint8)).resize((width, height))
    return Image.blend(colours, pattern.convert("RGB"), 0.3)


def _assert_near(found: np.ndarray, expected: np.ndarray, mean: float) -> None:
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected.astype(int)).mean() <= mean


# Formats and modes


def test_every_format_is_tried_below() -> None:
    assert set(_OPTIONS) == set(FORMATS)


def test_every_suffix_belongs_to_a_format_that_is_read() -> None:
    registered = Image.registered_extensions()
    assert {registered[suffix] for suffix in SUFFIXES} == set(FORMATS)


@pytest.mark.parametrize("file_format", FORMATS)
def test_every_format_gives_the_picture(file_format: str) -> None:
    original = _quarters()
    tolerance = 3.0 if file_format in _LOSSY else 0.0
    found = _decoded(encoded(original, file_format, **_OPTIONS[file_format]))
    _assert_near(found, np.asarray(original), tolerance)


@pytest.mark.parametrize("options", [{"progressive": True}, {"subsampling": 2}, {"quality": 30}])
def test_jpegs_of_every_kind(options: dict) -> None:
    original = _quarters()
    _assert_near(_decoded(encoded(original, "JPEG", **options)), np.asarray(original), 12.0)


def test_cmyk_jpeg() -> None:
    cmyk = _quarters().convert("CMYK")
    _assert_near(_decoded(encoded(cmyk, "JPEG", quality=95, subsampling=0)), np.asarray(cmyk.convert("RGB")), 4.0)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "BMP", "AVIF"])
def test_grey(file_format: str) -> None:
    grey = Image.fromarray(np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6).repeat(8, axis=0).repeat(8, axis=1))
    expected = np.asarray(grey)[..., np.newaxis].repeat(3, axis=-1)
    _assert_near(_decoded(encoded(grey, file_format)), expected, 2.0 if file_format in _LOSSY else 0.0)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF", "BMP"])
def test_one_bit(file_format: str) -> None:
    bits = np.array([[True, False, True], [False, False, True]])
    found = _decoded(encoded(Image.fromarray(bits), file_format))
    np.testing.assert_array_equal(found, bits[..., np.newaxis].repeat(3, axis=-1) * 255)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_16_bit_grey_keeps_its_range(file_format: str, order: str) -> None:
    deep = np.linspace(0, 65_535, 48 * 32).round().astype(order).reshape(32, 48)
    mode = "I;16B" if (file_format, order) == ("TIFF", ">u2") else "I;16"
    content = deep if mode == "I;16B" else deep.astype("<u2")
    image = Image.frombytes(mode, (48, 32), content.tobytes())
    found = _decoded(encoded(image, file_format))
    expected = np.round(deep.astype(float) / 257).astype(int)
    np.testing.assert_array_equal(found, expected[..., np.newaxis].repeat(3, axis=-1))


@pytest.mark.parametrize("full_scale", [1.0, 255.0])
def test_float_tiff_of_either_scale(full_scale: float) -> None:
    values = np.linspace(0, 1, 48 * 32, dtype=np.float32).reshape(32, 48)
    found = _decoded(encoded(Image.fromarray(values * np.float32(full_scale)), "TIFF"))
    _assert_near(found, np.round(values * 255)[..., np.newaxis].repeat(3, axis=-1), 0.01)
    assert (found.min(), found.max()) == (0, 255)


def test_float_tiff_with_holes_and_values_out_of_range() -> None:
    values = np.array([[np.nan, 0.0, 0.5], [-3.0, np.inf, -np.inf]], dtype=np.float32)
    found = _decoded(encoded(Image.fromarray(values), "TIFF"))
    assert found.shape == (2, 3, 3)
    assert found[0, 0, 0] == found[1, 0, 0] == found[1, 2, 0] == 0
    assert found[1, 1, 0] == _WHITE


def _palette_with_a_hole() -> Image.Image:
    image = Image.new("P", (4, 2), 1)
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putpixel((0, 0), 0)
    image.info["transparency"] = 0
    return image


@pytest.mark.parametrize("file_format", ["PNG", "GIF"])
def test_a_palettes_transparent_colour_is_white(file_format: str) -> None:
    found = _decoded(encoded(_palette_with_a_hole(), file_format, transparency=0))
    assert found[0, 0].tolist() == [_WHITE] * 3
    assert found[1, 3].tolist() == [200, 100, 50]


def test_a_palettes_half_transparent_colours_lie_over_white() -> None:
    found = _decoded(encoded(_palette_with_a_hole(), "PNG", transparency=bytes([0, 128])))
    assert found[0, 0].tolist() == [_WHITE] * 3
    np.testing.assert_allclose(found[1, 3], [227, 177, 152], atol=1)


def test_a_transparent_colour_of_an_rgb_png_is_white() -> None:
    image = Image.new("RGB", (2, 1), (1, 2, 3))
    image.putpixel((0, 0), (9, 9, 9))
    found = _decoded(encoded(image, "PNG", transparency=(9, 9, 9)))
    assert found.tolist() == [[[_WHITE] * 3, [1, 2, 3]]]


@pytest.mark.parametrize("file_format", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_alpha_lies_over_white(file_format: str) -> None:
    pixels = np.array([[[255, 0, 0, 255], [255, 0, 0, 128], [0, 0, 0, 0], [0, 0, 0, 51]]], dtype=np.uint8)
    options = {"lossless": True, "exact": True} if file_format == "WEBP" else _OPTIONS[file_format]
    found = _decoded(encoded(Image.fromarray(pixels), file_format, **options))
    expected = [[255, 0, 0], [255, 127, 127], [255, 255, 255], [204, 204, 204]]
    np.testing.assert_allclose(found[0], expected, atol=4 if file_format in _LOSSY else 1)


@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_grey_with_alpha_lies_over_white(file_format: str) -> None:
    image = Image.merge("LA", (Image.new("L", (3, 1), 100), Image.frombytes("L", (3, 1), bytes([255, 128, 0]))))
    found = _decoded(encoded(image, file_format))
    np.testing.assert_allclose(found[0, :, 0], [100, 177, 255], atol=1)


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "TIFF", "PNG", "AVIF"])
def test_the_first_of_several_frames(file_format: str) -> None:
    frames = [Image.new("RGB", (8, 6), colour) for colour in ("red", "blue", "lime")]
    data = encoded(frames[0], file_format, save_all=True, append_images=frames[1:], **_OPTIONS[file_format])
    assert Image.open(io.BytesIO(data)).n_frames == 3
    np.testing.assert_allclose(_decoded(data), np.full((6, 8, 3), (255, 0, 0)), atol=3 if file_format in _LOSSY else 0)


# Orientation


def _stored(upright: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels of a file of this EXIF orientation, by the specification: the sides that row 0 and column 0 show."""
    return {
        1: lambda: upright,  # row 0 is the top, column 0 the left
        2: lambda: upright[:, ::-1],  # top, right
        3: lambda: upright[::-1, ::-1],  # bottom, right
        4: lambda: upright[::-1],  # bottom, left
        5: lambda: upright.swapaxes(0, 1),  # left, top
        6: lambda: upright[:, ::-1].swapaxes(0, 1),  # right, top
        7: lambda: upright[::-1, ::-1].swapaxes(0, 1),  # right, bottom
        8: lambda: upright[::-1].swapaxes(0, 1),  # left, bottom
    }[orientation]()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_pictures_come_out_upright(file_format: str, orientation: int) -> None:
    upright = np.asarray(_quarters())
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(_stored(upright, orientation)))
    found = _decoded(encoded(stored, file_format, exif=exif, **_OPTIONS[file_format]))
    _assert_near(found, upright, 3.0 if file_format in _LOSSY else 0.0)


@pytest.mark.parametrize("orientation", [0, 9, 65_535])
def test_an_orientation_that_does_not_exist_turns_nothing(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    original = _quarters()
    _assert_near(_decoded(encoded(original, "JPEG", exif=exif, **_OPTIONS["JPEG"])), np.asarray(original), 3.0)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("exif", [b"Exif\0\0", b"Exif\0\0II*\0garbage", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"])
def test_broken_exif_is_no_reason_to_reject_a_picture(exif: bytes) -> None:
    original = _quarters()
    _assert_near(_decoded(encoded(original, "JPEG", exif=exif, **_OPTIONS["JPEG"])), np.asarray(original), 3.0)


# Sizes and limits


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (4000, 2), (2, 4000)])
def test_extreme_shapes(file_format: str, size: tuple[int, int]) -> None:
    image = decode_image(picture("red", size, file_format), _LIMITS)
    assert image.size == size
    pixels = to_pixels(image)
    assert pixels.shape == (_SIDE_PX, _SIDE_PX, 3)
    np.testing.assert_allclose(pixels[112, 112], [255, 0, 0], atol=3)


@pytest.mark.parametrize("size", [(2600, 2000), (4000, 500), (500, 4000)])
def test_a_huge_jpeg_decodes_to_few_pixels_and_the_same_square(size: tuple[int, int]) -> None:
    original = _ramps(*size)
    small = decode_image(encoded(original, "JPEG", quality=90), _LIMITS)
    assert _SIDE_PX**2 <= small.width * small.height <= 4 * _SIDE_PX**2
    _assert_near(to_pixels(small), to_pixels(original), 1.5)


@pytest.mark.parametrize("subsampling", [0, 1, 2])
@pytest.mark.parametrize(
    "size", [(300, 200), (401, 533), (533, 400), (700, 500), (1201, 900), (2600, 2000), (97, 3001)]
)
def test_the_same_picture_as_a_jpeg_and_as_a_png_has_the_same_pixels(size: tuple[int, int], subsampling: int) -> None:
    jpeg = encoded(_textured(*size), "JPEG", quality=92, subsampling=subsampling)
    png = encoded(Image.open(io.BytesIO(jpeg)), "PNG")
    found, expected = (decode_image(data, _LIMITS) for data in (png, jpeg))
    assert found.size == expected.size
    _assert_near(np.asarray(found), np.asarray(expected), 1.0)


@pytest.mark.parametrize("file_format", sorted(set(FORMATS) - {"JPEG", "AVIF"}))
def test_large_pictures_of_other_formats_are_reduced_by_the_mean(file_format: str) -> None:
    large = np.kron(np.asarray(_quarters(240, 240)), np.ones((4, 4, 1), np.uint8))
    found = decode_image(encoded(Image.fromarray(large), file_format, **_OPTIONS[file_format]), _LIMITS)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(_quarters(240, 240)))


@pytest.mark.parametrize("file_format", FORMATS)
def test_under_the_first_preprocessing_only_jpegs_are_decoded_at_a_smaller_scale(file_format: str) -> None:
    data = encoded(_textured(960, 960), file_format, **_OPTIONS[file_format])
    before, now = (
        decode_image(data, _LIMITS, preprocessing=Preprocessing(_SIDE_PX, revision))
        for revision in (FIRST_REVISION, NEWEST_REVISION)
    )
    assert before.size == ((240, 240) if file_format == "JPEG" else (960, 960))
    assert now.size == (240, 240)
    if file_format == "JPEG":
        assert before.tobytes() == now.tobytes()


def test_the_pixels_of_each_preprocessing_stay_as_they_are() -> None:
    """A changed pixel needs a new name: snapshots of these names have embeddings of these pixels."""
    picture = _textured(961, 700)
    expected = {
        "geometric-mean-square/white/bilinear/224/1": to_pixels(picture),
        "geometric-mean-square/white/bilinear/224/2": to_pixels(picture.reduce(2)),
    }
    assert len(expected) == NEWEST_REVISION
    for name, pixels in expected.items():
        found = decode_image(encoded(picture, "PNG"), _LIMITS, preprocessing=Preprocessing.parse(name))
        np.testing.assert_array_equal(to_pixels(found), pixels)


def test_a_jpeg_is_never_decoded_to_fewer_pixels_than_the_square_needs() -> None:
    for width, height in [(225, 225), (447, 449), (450, 450), (1000, 300), (300, 1000), (1791, 1793), (2000, 97)]:
        found = decode_image(picture("red", (width, height)), _LIMITS)
        side, full_side = (found.width * found.height) ** 0.5, (width * height) ** 0.5
        assert side >= min(_SIDE_PX, full_side) - 1


def test_the_byte_limit_is_exact() -> None:
    data = picture("red")
    decode_image(data, ImageLimits(max_bytes=len(data)))
    with pytest.raises(ImageTooLarge, match=rf"shoe\.jpg has {len(data):,} bytes; at most {len(data) - 1:,} are"):
        decode_image(data, ImageLimits(max_bytes=len(data) - 1), "shoe.jpg")


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_pixel_limit_is_exact(file_format: str) -> None:
    data = picture("red", (30, 20), file_format)
    decode_image(data, ImageLimits(max_pixels=600))
    with pytest.raises(ImageTooLarge, match=r"30 × 20 = 600 pixels; at most 599 are allowed"):
        decode_image(data, ImageLimits(max_pixels=599))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png_header_that_claims(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return _PNG_SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", b"never read") + _chunk(b"IEND", b"")


def test_a_tiny_png_that_claims_400_megapixels_is_refused_before_decoding() -> None:
    data = _png_header_that_claims(20_000, 20_000)
    assert len(data) < 100
    with pytest.raises(ImageTooLarge, match=r"20000 × 20000 = 400,000,000 pixels; at most 50,000,000"):
        decode_image(data, _LIMITS)
    with pytest.raises(BrokenImage):  # the same file, once it is decoded
        decode_image(_png_header_that_claims(20, 20), _LIMITS)


def test_a_gif_frame_larger_than_its_screen_counts() -> None:
    data = bytearray(picture("red", (2, 2), "GIF"))
    frame = data.index(b",\0\0\0\0\x02\0\x02\0")
    data[frame + 5 : frame + 9] = struct.pack("<HH", 60_000, 60_000)
    with pytest.raises(ImageTooLarge, match="3,600,000,000 pixels"):
        decode_image(bytes(data), _LIMITS)


# Damage


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"garbage" * 1000,
        b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect width="9" height="9"/></svg>',
        b"<!DOCTYPE html><html><body><img src='shoe.jpg'></body></html>",
        b"%PDF-1.7\n",
        b"GIF89a"[:4],
    ],
)
def test_what_is_no_image_is_unsupported(data: bytes) -> None:
    with pytest.raises(UnsupportedImage, match=r"shoe\.jpg is .*expected one of JPEG, PNG, WEBP, GIF, TIFF, BMP, AVIF"):
        decode_image(data, _LIMITS, "shoe.jpg")


@pytest.mark.parametrize("file_format", ["PPM", "ICO", "TGA", "PCX"])
def test_formats_that_only_pillow_reads_are_unsupported(file_format: str) -> None:
    with pytest.raises(UnsupportedImage):
        decode_image(picture("red", (16, 16), file_format), _LIMITS)


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("eighths", [3, 4, 5, 6, 7])
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_truncated_files_are_broken(file_format: str, eighths: int) -> None:
    data = encoded(_noise(100, 80), file_format, **_OPTIONS[file_format])
    with pytest.raises(ImageError, match=r"shoe\.jpg (can't be decoded|is not an image that can be read)"):
        decode_image(data[: len(data) * eighths // 8], _LIMITS, "shoe.jpg")


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_files_cut_anywhere_give_no_other_error(file_format: str) -> None:
    data = encoded(_noise(), file_format, **_OPTIONS[file_format])
    for length in range(0, len(data), 7):
        _decode_or_reject(data[:length])


@pytest.mark.parametrize("file_format", [*FORMATS, "LZW TIFF", "palette PNG", "animated GIF"])
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_bytes_give_no_other_error(file_format: str) -> None:
    data = _special(file_format)
    random = np.random.default_rng(len(data))
    outcomes = [_decode_or_reject(_flipped(data, random)) for _ in range(300)]
    assert any(outcomes)
    assert not all(outcomes)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_pngs_whose_checksums_are_right_give_no_other_error() -> None:
    chunks = list(_png_chunks(encoded(_noise().quantize(16), "PNG", transparency=3)))
    random = np.random.default_rng(6)
    outcomes = []
    for _ in range(300):
        damaged = random.integers(len(chunks) - 1)
        parts = [
            _chunk(kind, _flipped(content, random) if number == damaged else content)
            for number, (kind, content) in enumerate(chunks)
        ]
        outcomes.append(_decode_or_reject(_PNG_SIGNATURE + b"".join(parts)))
    assert any(outcomes)
    assert not all(outcomes)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    offset = len(_PNG_SIGNATURE)
    while offset < len(data):
        (length,) = struct.unpack_from(">I", data, offset)
        yield data[offset + 4 : offset + 8], data[offset + 8 : offset + 8 + length]
        offset += 12 + length


def _special(name: str) -> bytes:
    if name == "LZW TIFF":
        return encoded(_noise(), "TIFF", compression="tiff_lzw")
    if name == "palette PNG":
        return encoded(_noise().quantize(16), "PNG", transparency=3)
    if name == "animated GIF":
        return encoded(_noise(), "GIF", save_all=True, append_images=[_quarters(24, 18)])
    return encoded(_noise(), name, **_OPTIONS[name])


def _flipped(data: bytes, random: np.random.Generator) -> bytes:
    """One to four bytes changed, half of the time in the first 64, where the structure is."""
    damaged = bytearray(data)
    for _ in range(random.integers(1, 5)):
        reach = len(data) if random.integers(2) else min(64, len(data))
        damaged[random.integers(reach)] ^= int(random.integers(1, 256))
    return bytes(damaged)


def _decode_or_reject(data: bytes) -> bool:
    """Return True if it was decoded; only an `ImageError` is caught."""
    try:
        image = decode_image(data, ImageLimits(max_pixels=1_000_000))
    except ImageError:
        return False
    assert to_pixels(image).shape == (_SIDE_PX, _SIDE_PX, 3)
    return True


# The square


def test_the_square_is_uint8_rgb() -> None:
    pixels = to_pixels(_quarters())
    assert pixels.shape == (_SIDE_PX, _SIDE_PX, 3)
    assert pixels.dtype == np.uint8


@pytest.mark.parametrize("side", [1, 7, 224, 225, 1000])
def test_a_square_picture_fills_the_square(side: int) -> None:
    np.testing.assert_array_equal(
        to_pixels(Image.new("RGB", (side, side), (10, 20, 30))),
        np.full((_SIDE_PX, _SIDE_PX, 3), (10, 20, 30)),
    )


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    original = _noise(_SIDE_PX, _SIDE_PX)
    np.testing.assert_array_equal(to_pixels(original), np.asarray(original))


@pytest.mark.parametrize("turned", [False, True])
def test_a_long_picture_is_centred_with_white_outside(turned: bool) -> None:
    """400 × 100: the cut is 200 wide, so the picture's 100 fill half of the square's height."""
    pixels = to_pixels(Image.new("RGB", (100, 400) if turned else (400, 100), "red"))
    if turned:
        pixels = pixels.swapaxes(0, 1)
    assert (pixels[:56] == _WHITE).all()
    assert (pixels[168:] == _WHITE).all()
    assert (pixels[56:168] == (255, 0, 0)).all()


def test_a_long_picture_loses_its_ends_evenly() -> None:
    across = to_pixels(_ramps(400, 100))[112, :, 0].astype(int)
    expected = np.linspace(0, 255, 400)[100:300]
    np.testing.assert_allclose(across[[0, 112, 223]], expected[[0, 100, 199]], atol=2)


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (500, 100), (90, 60)])
def test_a_circle_stays_a_circle(size: tuple[int, int]) -> None:
    width, height = size
    row, column = np.mgrid[0:height, 0:width]
    disc = (row - (height - 1) / 2) ** 2 + (column - (width - 1) / 2) ** 2 < (min(size) * 0.4) ** 2
    pixels = to_pixels(Image.fromarray(np.where(disc, 0, 255).astype(np.uint8)).convert("RGB"))
    inside = pixels[..., 0] < 128
    diameters = inside.any(axis=0).sum(), inside.any(axis=1).sum()
    expected = 0.8 * min(size) * _SIDE_PX / (width * height) ** 0.5
    np.testing.assert_allclose(diameters, expected, atol=3)
    assert abs(int(diameters[0]) - int(diameters[1])) <= 2
    middle = [positions.mean() for positions in np.nonzero(inside)]
    np.testing.assert_allclose(middle, (_SIDE_PX - 1) / 2, atol=0.6)


@pytest.mark.parametrize("size", [(48, 32), (224, 224), (3, 500)])
def test_the_picture_is_not_changed(size: tuple[int, int]) -> None:
    original = _noise(*size)
    before = original.tobytes()
    to_pixels(original)
    assert original.size == size
    assert original.tobytes() == before


@pytest.mark.clothing
def test_decoding_at_a_smaller_scale_changes_real_photos_little(clothing: Path) -> None:
    for path in sorted(clothing.glob("validation/*/*.jpg"))[::30]:
        with Image.open(path) as image:
            whole = to_pixels(image.convert("RGB"))
        _assert_near(to_pixels(decode_image(path.read_bytes(), _LIMITS)), whole, 5.0)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_that_is_converted_in_bands_comes_out_upright_and_whole(orientation: int, monkeypatch) -> None:
    monkeypatch.setattr(rgb, "_BAND_PX", 48 * 5)  # of 32 rows, the last band has 2
    plain = _quarters().convert("RGBA")
    plain.putalpha(_ramps(48, 32).getchannel("R"))
    exif = Image.Exif()
    exif[0x0112] = orientation
    whole = Image.alpha_composite(Image.new("RGBA", plain.size, "white"), plain).convert("RGB")
    expected = ImageOps.exif_transpose(_with_exif(whole, exif))
    np.testing.assert_array_equal(_decoded(encoded(plain, "PNG", exif=exif)), np.asarray(expected))


def _with_exif(image: Image.Image, exif: Image.Exif) -> Image.Image:
    return Image.open(io.BytesIO(encoded(image, "PNG", exif=exif)))


@pytest.mark.parametrize("value", [0.5, 2.0])
def test_one_float_above_1_in_any_band_changes_the_scale_of_all(value: float, monkeypatch) -> None:
    monkeypatch.setattr(rgb, "_BAND_PX", 24 * 5)
    values = np.full((18, 24), 0.5, np.float32)
    values[17, 3] = value
    found = _decoded(encoded(Image.fromarray(values), "TIFF"))
    assert found[0, 0].tolist() == [round(0.5 * 255 / (1 if value <= 1 else 255) + 0.01)] * 3


@pytest.mark.parametrize(
    ("mode", "file_format", "options", "bytes_a_pixel"),
    [
        ("RGB", "PNG", {}, 4),
        ("L", "PNG", {}, 5),
        ("I;16", "PNG", {}, 6),
        ("RGBA", "PNG", {}, 8),
        ("RGB", "WEBP", {}, 16),
        ("RGB", "AVIF", {"speed": 10}, 16),
        ("RGB", "TIFF", {"compression": "tiff_lzw"}, 4),
        ("RGB", "JPEG", {"progressive": True, "subsampling": 0}, 6),
    ],
)
def test_the_limit_of_memory(mode: str, file_format: str, options: dict, bytes_a_pixel: int) -> None:
    data = encoded(Image.new(mode, (2000, 1600)), file_format, **options)
    needed = 2000 * 1600 * bytes_a_pixel
    drafted = 4 * 500 * 400 if file_format == "JPEG" else 0
    decode_image(data, ImageLimits(max_memory_bytes=needed + drafted))
    with pytest.raises(
        ImageTooLarge, match=rf"needs {needed + drafted:,} bytes of memory to decode; at most 1,000 are allowed"
    ):
        decode_image(data, ImageLimits(max_memory_bytes=1000))
    decode_image(data, ImageLimits(max_memory_bytes=None))
