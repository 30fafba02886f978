"""The names of preprocessings, and the square at other sides than that of `test_decode`."""

import numpy as np
import pytest
from PIL import Image

from shared.images.decode import decode_image
from shared.images.limits import ImageLimits
from shared.images.preprocessing import (
    DEFAULT_PREPROCESSING,
    DEFAULT_SIDE_PX,
    NEWEST_REVISION,
    Preprocessing,
    needed_size,
    to_pixels,
)
from tests.support.fakes import encoded

_SIDES = [128, 224, 352]


def _ramp(width: int, height: int) -> Image.Image:
    across = np.linspace(0, 255, width)[np.newaxis].repeat(height, axis=0)
    return Image.fromarray(np.stack([across] * 3, axis=-1).astype(np.uint8))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("geometric-mean-square/white/bilinear/224/1", Preprocessing(224, 1)),  # of earlier versions
        ("geometric-mean-square/white/bilinear/224/2", Preprocessing(224, 2)),
        ("geometric-mean-square/white/bilinear/128/2", Preprocessing(128)),
        ("geometric-mean-square/white/bilinear/352/2", Preprocessing(352)),
    ],
)
def test_names_are_read_and_written(name: str, expected: Preprocessing) -> None:
    assert Preprocessing.parse(name) == expected
    assert expected.name == name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("centre-crop/1", "expected 'geometric-mean-square/white/bilinear/<side>/<revision>'"),
        ("geometric-mean-square/white/bilinear/224", "expected 'geometric-mean-square"),
        ("geometric-mean-square/white/bilinear/0224/2", "expected 'geometric-mean-square"),
        ("geometric-mean-square/white/bilinear/224/2\n", "expected 'geometric-mean-square"),
        ("geometric-mean-square/white/bilinear/-224/2", "expected 'geometric-mean-square"),
        ("geometric-mean-square/white/bilinear/225/2", "the input side is 225 px; expected 128 to 352 px, a multiple"),
        ("geometric-mean-square/white/bilinear/96/2", "the input side is 96 px"),
        ("geometric-mean-square/white/bilinear/384/2", "the input side is 384 px"),
        ("geometric-mean-square/white/bilinear/224/3", "the revision is 3; this version knows 1 to 2"),
    ],
)
def test_other_names_are_rejected(name: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Preprocessing.parse(name)


def test_new_data_directories_get_the_newest_revision() -> None:
    assert (DEFAULT_PREPROCESSING.side_px, DEFAULT_PREPROCESSING.revision) == (DEFAULT_SIDE_PX, NEWEST_REVISION)


@pytest.mark.parametrize("side_px", _SIDES)
def test_the_square_has_the_side(side_px: int) -> None:
    pixels = to_pixels(_ramp(400, 100), side_px)
    assert pixels.shape == (side_px, side_px, 3)
    quarter = side_px // 4
    assert (pixels[:quarter] == 255).all()
    assert (pixels[-quarter:] == 255).all()
    shown = np.linspace(0, 255, 400)[100:300]
    np.testing.assert_allclose(pixels[side_px // 2, [0, -1], 0], shown[[0, -1]], atol=2)


@pytest.mark.parametrize("side_px", _SIDES)
def test_a_picture_of_the_side_is_not_touched(side_px: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (side_px, side_px, 3), dtype=np.uint8)
    np.testing.assert_array_equal(to_pixels(Image.fromarray(pixels), side_px), pixels)


@pytest.mark.parametrize("side_px", _SIDES)
@pytest.mark.parametrize("size", [(3000, 2000), (500, 4000), (100, 90)])
def test_no_image_is_reduced_below_what_the_square_needs(side_px: int, size: tuple[int, int]) -> None:
    width, height = needed_size(*size, side_px)
    full = (size[0] * size[1]) ** 0.5
    assert min(side_px, full) <= (width * height) ** 0.5 <= min(side_px, full) * 1.05


@pytest.mark.parametrize("file_format", ["JPEG", "PNG"])
@pytest.mark.parametrize(("side_px", "decoded_px"), [(128, 128), (224, 256), (288, 512)])
def test_a_larger_side_decodes_more_pixels(file_format: str, side_px: int, decoded_px: int) -> None:
    data = encoded(_ramp(1024, 1024), file_format)
    image = decode_image(data, ImageLimits(), preprocessing=Preprocessing(side_px))
    assert image.size == (decoded_px, decoded_px)
