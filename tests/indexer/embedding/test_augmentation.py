import math

import numpy as np
import pytest
from numpy.typing import NDArray

from indexer.embedding.augmentation import Augmentation, affine

_SIDE = 224


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (_SIDE, _SIDE, 3), dtype=np.uint8)


def _spot(row: int, column: int) -> NDArray[np.uint8]:
    """Black with a white square of 9 px around a place."""
    picture = np.zeros((_SIDE, _SIDE, 3), np.uint8)
    picture[row - 4 : row + 5, column - 4 : column + 5] = 255
    return picture


def _centre(picture: NDArray[np.uint8]) -> tuple[float, float]:
    """Where the light lies, as (row, column)."""
    weights = picture[..., 0].astype(float)
    rows, columns = np.mgrid[0:_SIDE, 0:_SIDE]
    return float((rows * weights).sum() / weights.sum()), float((columns * weights).sum() / weights.sum())


def test_the_original_comes_first_then_the_copies(pixels: NDArray[np.uint8]) -> None:
    before = pixels.copy()
    views = Augmentation(copies=3).views(pixels, b"content")
    assert len(views) == 4
    np.testing.assert_array_equal(views[0], before)
    for view in views:
        assert (view.shape, view.dtype) == ((_SIDE, _SIDE, 3), np.uint8)
    np.testing.assert_array_equal(pixels, before)
    assert len({view.tobytes() for view in views}) == 4


def test_without_copies_there_is_only_the_original(pixels: NDArray[np.uint8]) -> None:
    (only,) = Augmentation(copies=0).views(pixels, b"content")
    np.testing.assert_array_equal(only, pixels)


def test_the_same_seed_and_content_give_the_same_copies(pixels: NDArray[np.uint8]) -> None:
    first, again = (Augmentation(seed=7).views(pixels, b"content") for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_more_copies_keep_the_first_ones(pixels: NDArray[np.uint8]) -> None:
    few, many = (Augmentation(copies=copies).views(pixels, b"content") for copies in (1, 3))
    np.testing.assert_array_equal(few, many[:2])


@pytest.mark.parametrize(("seed", "content"), [(8, b"content"), (7, b"contenu")])
def test_another_seed_or_content_gives_other_copies(pixels: NDArray[np.uint8], seed: int, content: bytes) -> None:
    views = Augmentation(copies=1, seed=7).views(pixels, b"content")
    others = Augmentation(copies=1, seed=seed).views(pixels, content)
    assert not np.array_equal(views[1], others[1])


def test_half_of_the_copies_are_mirrored_unless_flip_is_off(pixels: NDArray[np.uint8]) -> None:
    still = {"copies": 200, "rotation_degrees": 0.0, "zoom": 0.0}
    copies = Augmentation(**still).views(pixels, b"content")[1:]
    mirrored = sum(np.array_equal(copy, np.fliplr(pixels)) for copy in copies)
    kept = sum(np.array_equal(copy, pixels) for copy in copies)
    assert mirrored + kept == 200
    assert 70 < mirrored < 130
    assert all(np.array_equal(copy, pixels) for copy in Augmentation(**still, flip=False).views(pixels, b"content"))


def test_copies_stay_within_the_limits() -> None:
    """A spot 80 px above the centre stays as near to straight above it as rotation and zoom allow."""
    reach = 80
    copies = Augmentation(copies=100, rotation_degrees=15, zoom=0.15).views(_spot(112 - reach, 112), b"content")[1:]
    places = np.array([_centre(copy) for copy in copies]) - 111.5
    distances, angles = np.hypot(*places.T), np.degrees(np.arctan2(places[:, 1], -places[:, 0]))
    assert reach * 0.85 - 1 < distances.min() < reach * 0.9
    assert reach * 1.1 < distances.max() < reach * 1.15 + 1
    assert -16 < angles.min() < -10
    assert 10 < angles.max() < 16


def test_doing_nothing_changes_nothing(pixels: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(affine(pixels, 0.0, 1.0, mirrored=False), pixels)


def test_mirroring_is_exact(pixels: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(affine(pixels, 0.0, 1.0, mirrored=True), np.fliplr(pixels))


@pytest.mark.parametrize("turns", [1, 2, 3, -1])
@pytest.mark.parametrize("mirrored", [False, True])
def test_right_angles_turn_counter_clockwise(pixels: NDArray[np.uint8], turns: int, mirrored: bool) -> None:
    found = affine(pixels, turns * math.pi / 2, 1.0, mirrored)
    wanted = np.rot90(np.fliplr(pixels) if mirrored else pixels, turns)
    # Sine and cosine are off by a rounding, which may cost a step of brightness.
    assert np.abs(found.astype(int) - wanted).max() <= 1


def test_a_small_angle_turns_the_same_way() -> None:
    row, column = _centre(affine(_spot(112, 192), math.radians(15), 1.0, mirrored=False))
    assert (row, column) == pytest.approx((111.5 - 80 * math.sin(math.radians(15)), 111.5 + 80 * 0.966), abs=1)


@pytest.mark.parametrize("scale", [0.5, 0.85, 1.15, 2.0])
def test_scaling_keeps_the_centre_and_moves_the_rest(scale: float) -> None:
    for row, column in ((111, 111), (72, 132)):
        found = _centre(affine(_spot(row, column), 0.0, scale, mirrored=False))
        wanted = (111.5 + (row - 111.5) * scale, 111.5 + (column - 111.5) * scale)
        assert found == pytest.approx(wanted, abs=0.1)


@pytest.mark.parametrize("angle", [0.0, 0.2, math.pi / 4, -1.0])
@pytest.mark.parametrize("scale", [0.3, 0.85, 1.0])
def test_what_comes_in_from_outside_repeats_the_edge(angle: float, scale: float) -> None:
    white = np.full((_SIDE, _SIDE, 3), 255, np.uint8)
    assert affine(white, angle, scale, mirrored=True).min() >= 254
    left_red = white.copy()
    left_red[:, :112] = (255, 0, 0)
    assert tuple(affine(left_red, 0.0, 0.5, mirrored=False)[112, 0]) == (255, 0, 0)


def test_other_sides_keep_their_size() -> None:
    assert affine(np.zeros((31, 31, 3), np.uint8), 0.3, 0.9, mirrored=False).shape == (31, 31, 3)
